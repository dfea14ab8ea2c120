"""Heads that predict each class by a sigmoid, as they are found in a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

# mmpretrain's head of several labels an image, from which the others derive
MULTI_LABEL_HEAD = 'MultiLabelClsHead'


def sigmoid_heads(source: str, modules: Mapping[str, nn.Module]) -> Iterator[nn.Module]:
    """The heads with a sigmoid in which a source lies, the innermost first.

    Args:
        source: Path of a module; of several teachers together also as it is called in each.
        modules: By path, those of a model or of several teachers.
    """
    for name in [source] if source in modules else [name for name in modules if name.endswith(f'.{source}')]:
        parts = name.split('.')
        for end in range(len(parts), 0, -1):
            head = modules['.'.join(parts[:end])]
            if _has_sigmoid(head):
                yield head


def is_of_classes(head: nn.Module, shape: tuple[int, ...] | None) -> bool:
    """Whether a record inside a head has the size of its logits, and not that of its features or boxes.

    Args:
        head: The head.
        shape: Of the record, with its classes in the second or in the last place; None where it is no such tensor.
    """
    if shape is None:
        return False
    classes = getattr(head, 'cls_out_channels', getattr(head, 'num_classes', None))
    anchors = getattr(head, 'num_base_priors', 1)
    if not isinstance(classes, int) or not isinstance(anchors, int):
        return True  # mmpretrain's CSRAClsHead does not tell its number of classes
    return classes * anchors in (shape[1], shape[-1])


def describe_head(head: nn.Module) -> str:
    """A head by its class and that of its loss."""
    loss = getattr(head, 'loss_module', getattr(head, 'loss_cls', None))
    return type(head).__name__ if loss is None else f'{type(head).__name__} with {type(loss).__name__}'


def _has_sigmoid(head: nn.Module) -> bool:
    """Whether a head predicts each class by a sigmoid, and is trained so."""
    if any(kind.__name__ == MULTI_LABEL_HEAD for kind in type(head).__mro__):
        return bool(getattr(getattr(head, 'loss_module', None), 'use_sigmoid', True))
    # mmdet's dense heads, and those that have a loss only, as DETR's
    return bool(getattr(head, 'use_sigmoid_cls', getattr(getattr(head, 'loss_cls', None), 'use_sigmoid', False)))
