"""What cannot be distilled from a cache."""

from __future__ import annotations

from typing import Any

from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.errors import Fault
from kd_plugins.recorders import ModuleOutputGrads, Parameter

ALGORITHMS = ('SingleTeacherDistill', 'MultiTeacherDistill')
# what preprocessors call the mixing of a batch: mmpretrain's, mmdet's and mmseg's; mmaction's
MIXING = ('batch_augments', 'blending')
WITHOUT = 'train without a cache'


def refusals(algorithm: Any) -> list[Fault]:
    """Why the teacher of an algorithm cannot be cached.

    Args:
        algorithm: As far as it could be built.

    Returns:
        A fault per reason, seen from the config of the algorithm.
    """
    faults = []
    if type(algorithm).__name__ not in ALGORITHMS:
        expected = f'an algorithm whose teacher can be cached: {" or ".join(ALGORITHMS)}'
        faults.append(Fault('type', expected, type(algorithm).__name__, WITHOUT))
    if getattr(algorithm, 'teacher_trainable', False):
        expected = 'a frozen teacher, which always says the same'
        faults.append(Fault('teacher_trainable', expected, 'True', f'remove it, or {WITHOUT}'))
    preprocessor = getattr(algorithm, 'data_preprocessor', None)
    for name in MIXING:
        mixing = getattr(preprocessor, name, None)
        if mixing is not None:
            expected = 'images that are not mixed, for a mixed batch cannot be replayed'
            augments = getattr(mixing, 'augments', None)
            kinds = [type(part).__name__ for part in augments or [mixing]]
            advice = f"remove it (mmpretrain's may stand in train_cfg.augments of the student), or {WITHOUT}"
            faults.append(Fault(f'data_preprocessor.{name}', expected, ', '.join(kinds), advice))
    distiller = getattr(algorithm, 'distiller', None)
    if distiller is not None:
        faults += [fault.within('distiller') for fault in _of_distiller(distiller)]
    return faults


def _of_distiller(distiller: Any) -> list[Fault]:
    if type(distiller) is not ConfigurableDistiller:
        expected = 'ConfigurableDistiller, whose records can be cached'
        return [Fault('type', expected, type(distiller).__name__, WITHOUT)]
    faults = []
    if distiller.spec.deliveries:
        got = ', '.join(distiller.spec.deliveries)
        faults.append(Fault('distill_deliveries', 'none, for they carry what runs, not what is stored', got, WITHOUT))
    for name, recorder in distiller.teacher_recorders.recorders.items():
        declared = distiller.spec.teacher_recorders[name]
        if isinstance(recorder, ModuleOutputGrads):
            expected = 'a record of what the teacher computes, for its gradient depends on the labels'
            faults.append(declared.blame(Fault('type', expected, type(recorder).__name__, WITHOUT)))
        if isinstance(recorder, Parameter):
            expected = 'a record with a row per sample'
            faults.append(declared.blame(Fault('type', expected, type(recorder).__name__, WITHOUT)))
    return faults
