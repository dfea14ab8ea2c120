"""True classes of the samples: as class indices, or as the probabilities that a mixed batch has."""

from __future__ import annotations

import torch

from kd_plugins.errors import Fault, UserError

# what a loss does with labels: class indices as they are, or the most likely class of probabilities
LABELS = ('index', 'argmax')
ADVICE = 'index is the usual one, argmax is for mixed batches'
# rows of float16 labels miss 1 by less
TOLERANCE = 1e-2

_RECORD = "record them: dict(type='ModuleInputs', source='head.loss_module') with data_idx=1 in mmpretrain's heads"
_MIXED = (
    'data_preprocessor.batch_augments, or train_cfg.augments of the student, mixes the labels of the batch: remove it, '
    "or write labels='argmax' into the loss, which takes the class with the larger part of the mix; for a head that "
    'predicts several labels an image, use BinaryKLDivergence'
)


def class_indices(gt_labels: torch.Tensor, logits: torch.Tensor, labels: str) -> torch.Tensor:
    """The true class of each sample of ``logits``.

    Values are checked on the CPU alone: a GPU would have to be waited for.

    Args:
        gt_labels: Class indices (N), or, where ``labels`` is ``'argmax'``, also probabilities (N, C).
        logits: (N, C).
        labels: One of :data:`LABELS`.

    Returns:
        Integers, (N). Of two equal probabilities the one of the lower class index wins.

    Raises:
        UserError: There are no labels, they are of another number, or they are neither a class index nor, where these
            are allowed, probabilities.
    """
    mixed = isinstance(gt_labels, torch.Tensor) and gt_labels.is_floating_point() and gt_labels.shape == logits.shape
    if labels == 'argmax' and mixed:
        _check_probabilities(gt_labels)
        return gt_labels.argmax(dim=1)  # (N, C) -> (N)
    _check_indices(gt_labels, logits, _MIXED if mixed else _RECORD)
    return gt_labels


def _check_indices(gt_labels: torch.Tensor, logits: torch.Tensor, advice: str) -> None:
    count, classes = logits.shape[:2]
    expected = f'the class indices of {count} samples, ({count},) whole numbers from 0 to {classes - 1}'
    if not isinstance(gt_labels, torch.Tensor):
        raise UserError(Fault('gt_labels', expected, f'a {type(gt_labels).__name__}', advice))
    if gt_labels.shape != logits.shape[:1] or gt_labels.is_floating_point():
        raise UserError(Fault('gt_labels', expected, f'{tuple(gt_labels.shape)} of {gt_labels.dtype}', advice))
    if gt_labels.device.type == 'cpu' and not ((gt_labels >= 0) & (gt_labels < classes)).all():
        got = f'some from {gt_labels.min()} to {gt_labels.max()}'
        raise UserError(Fault('gt_labels', expected, got, 'give both heads the num_classes of the data'))


def _check_probabilities(gt_labels: torch.Tensor) -> None:
    """Refuse targets of several classes an image, whose largest is the first of many ones."""
    if gt_labels.device.type != 'cpu':
        return
    total = gt_labels.sum(dim=1)
    if ((total - 1).abs() > TOLERANCE).any():
        got = f'rows with sums from {total.min():g} to {total.max():g}'
        advice = 'these are targets of several labels an image: use BinaryKLDivergence, which needs no labels'
        raise UserError(Fault('gt_labels', 'probabilities of the classes, whose sum is 1', got, advice))
