"""Which records of the teacher the losses of a distiller use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from kd_plugins.distiller import ConfigurableDistiller, RecordSpec
from kd_plugins.recorders import AveragedLogits
from kd_plugins.teacher.cache.fingerprint import describe_plainly


@dataclass(frozen=True)
class Use:
    """A record of the teacher, and the losses that use it.

    Attributes:
        record: What is recorded: the recorder's type and arguments, ``record_idx`` and ``data_idx``. Not its name, and
            not that of a loss: neither changes what is recorded.
        specs: Where losses use it.
        arguments: Of those losses, which it feeds.
    """

    record: Mapping[str, Any]
    specs: tuple[RecordSpec, ...]
    arguments: tuple[str, ...]


def uses_of(distiller: ConfigurableDistiller, teacher: nn.Module) -> list[Use]:
    """What losses need of the teacher, each record once.

    Args:
        distiller: Of the algorithm.
        teacher: The model, or the teachers, that its recorders are attached to.
    """
    found: dict[str, Use] = {}
    for mapping in distiller.spec.mappings:
        for argument, spec in mapping.arguments.items():
            if spec.from_student:
                continue
            record = _describe(distiller, spec, teacher)
            use = found.get(repr(record), Use(record, (), ()))
            found[repr(record)] = Use(record, (*use.specs, spec), (*use.arguments, argument))
    return list(found.values())


def _describe(distiller: ConfigurableDistiller, spec: RecordSpec, teacher: nn.Module) -> dict[str, Any]:
    recorder = distiller.teacher_recorders.recorders[spec.recorder]
    config = distiller.spec.teacher_recorders[spec.recorder].config
    arguments = {key: config[key] for key in sorted(config) if key not in ('type', '_scope_')}
    described = {'type': type(recorder).__name__, **arguments, 'record_idx': spec.record_idx, 'data_idx': spec.data_idx}
    if isinstance(recorder, AveragedLogits):
        described['weights'] = getattr(teacher, 'weights', {})
    return describe_plainly(described)
