"""Do the losses read predictions as the heads mean them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from kd_plugins.algorithms import Comparison
from kd_plugins.distiller import ConfigurableDistiller, LossSpec, RecordSpec
from kd_plugins.errors import Fault
from kd_plugins.preflight.findings import LossTrace
from kd_plugins.preflight.sigmoid_heads import describe_head, is_of_classes, sigmoid_heads

# losses that take a softmax, or the largest, of the classes, by name: mmrazor's and a user's subclasses are meant too
SOFTMAX_LOSSES = (
    'CrossEntropyLoss',
    'DISTLoss',
    'DKDLoss',
    'InformationEntropyLoss',
    'KDSoftCELoss',
    'KLDivergence',
    'OnehotLikeLoss',
    'WSLD',
)
# of these, those with the classes in the last dimension, and those of data-free methods, which see a teacher alone
CLASSES_LAST = ('KDSoftCELoss',)
TEACHER_ALONE = ('InformationEntropyLoss', 'OnehotLikeLoss')
INSTEAD = (
    "write type='BinaryKLDivergence', which compares the sigmoid of each class; it takes preds_S, preds_T, tau, "
    'reduction and loss_weight, and no labels'
)


def prediction_warnings(comparison: Comparison, traces: Sequence[LossTrace]) -> list[Fault]:
    """Warn of losses that make class probabilities of what the head has none for.

    A softmax over the logits of a head with a sigmoid (several labels an image, or a detector's classes beside no
    object) compares probabilities that neither model predicts. A softmax over one class is 1 whatever the model says,
    and DKD's part of the classes that are not the target is 0 where there is one.

    A head that is trained with binary cross entropy and predicts the largest class passes: its classes exclude one
    another.

    Args:
        comparison: Forwards and their distiller.
        traces: What the losses of that distiller got.
    """
    distiller = comparison.distiller
    if not isinstance(distiller, ConfigurableDistiller):
        return []
    modules = {side: _modules(forward.model) for forward in comparison.forwards for side in forward.sides}
    losses, shapes = dict(distiller.distill_losses.items()), {trace.name: _shapes(trace) for trace in traces}
    found = []
    for mapping in distiller.spec.mappings:
        loss, own = losses.get(mapping.name), shapes.get(mapping.name, {})
        kind = _softmax_loss(loss)
        if kind is None:
            continue
        where = f'model.{comparison.where}.{distiller.spec.losses[mapping.name].where}'
        found += _degenerate(kind, where, mapping, own) or _misread(distiller, kind, where, mapping, own, modules)
    return found


def _softmax_loss(loss: Any) -> str | None:
    """The name in :data:`SOFTMAX_LOSSES` that a loss goes by; None for others."""
    if loss is None or getattr(loss, 'use_sigmoid', False):
        return None
    return next((kind.__name__ for kind in type(loss).__mro__ if kind.__name__ in SOFTMAX_LOSSES), None)


def _degenerate(kind: str, where: str, mapping: LossSpec, shapes: Mapping[str, tuple[int, ...]]) -> list[Fault]:
    """At most one warning, of a loss that has too few classes to compare."""
    # what forwards nothing to a loss, is refused elsewhere
    shape = next(map(shapes.get, _compared(mapping)), None)
    if shape is None:
        return []
    classes = shape[-1 if kind in CLASSES_LAST else 1]
    if classes == 1:
        got = f'1 class, whose softmax is 1 whatever the models predict: {kind} compares nothing'
        return [Fault(f'{where}.type', 'two classes at least', got, INSTEAD)]
    if classes == 2 and kind == 'DKDLoss':
        got = '2 classes: beside the true one there is one, so the non-target part is 0 and beta does nothing'
        return [Fault(f'{where}.beta', 'three classes at least', got, 'KLDivergence has what is left, and no labels')]
    return []


def _misread(
    distiller: ConfigurableDistiller,
    kind: str,
    where: str,
    mapping: LossSpec,
    shapes: Mapping[str, tuple[int, ...]],
    modules: Mapping[str, Mapping[str, nn.Module]],
) -> list[Fault]:
    """At most one warning, of a loss over the logits of heads with a sigmoid."""
    heads = []
    for argument in _compared(mapping):
        record = mapping.arguments[argument]
        source = _source(distiller, record)
        for head in sigmoid_heads(source, modules.get(record.side, {})):
            if is_of_classes(head, shapes.get(argument)):
                heads.append(f"the {record.side}'s {source!r}, of a {describe_head(head)}")
                break
    if not heads:
        return []
    expected = 'a loss that takes each class by itself, as a head with a sigmoid does'
    got = f'{kind}, whose softmax lets the classes compete, for {" and ".join(heads)}'
    advice = 'the method needs a teacher that predicts one class an image' if kind in TEACHER_ALONE else INSTEAD
    return [Fault(f'{where}.type', expected, got, advice)]


def _compared(mapping: LossSpec) -> tuple[str, ...]:
    return mapping.pair or tuple(mapping.arguments)


def _source(distiller: ConfigurableDistiller, record: RecordSpec) -> str:
    declared = distiller.spec.student_recorders if record.from_student else distiller.spec.teacher_recorders
    config = declared[record.recorder].config
    return str(config.get('source', '')) if isinstance(config, Mapping) else ''


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    return dict(model.named_modules(remove_duplicate=False))


def _shapes(trace: LossTrace) -> dict[str, tuple[int, ...]]:
    """Shape by argument, of what is one tensor with classes."""
    found = {source.argument: source.connected for source in trace.sources}
    return {
        name: tuple(shape)
        for name, shape in found.items()
        if isinstance(shape, tuple) and len(shape) > 1 and all(isinstance(size, int) for size in shape)
    }
