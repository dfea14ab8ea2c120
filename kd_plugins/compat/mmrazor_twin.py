"""mmrazor's algorithm for a config of ours: the same models, recorders, connectors and losses in its own classes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from kd_plugins.build import Declared
from kd_plugins.compat.bridge import install, require_mmrazor
from kd_plugins.distiller import DistillerSpec, RecordSpec
from kd_plugins.errors import Fault, UserError, describe_error

OWN_SCOPE = 'kd_plugins.'


def build_mmrazor_twin(student: BaseModel, teacher: BaseModel, spec: DistillerSpec) -> BaseModel:
    """Build mmrazor's ``SingleTeacherDistill``.

    Args:
        student: Becomes its student.
        teacher: Becomes its teacher.
        spec: What our distiller's config says.

    Returns:
        The algorithm; its connectors have random weights, and ``data_preprocessor`` is left to the caller.

    Raises:
        UserError: mmrazor is not installed, or has not all components of the config.
    """
    install()
    require_mmrazor('mmrazor')
    models = importlib.import_module('mmrazor.registry').MODELS
    distiller = dict(
        type='mmrazor.ConfigurableDistiller',
        student_recorders=_configs(spec.student_recorders),
        teacher_recorders=_configs(spec.teacher_recorders),
        distill_deliveries=_configs(spec.deliveries),
        connectors=_configs(spec.connectors),
        distill_losses=_configs(spec.losses),
        loss_forward_mappings={
            mapping.name: {argument: _mapping(record) for argument, record in mapping.arguments.items()}
            for mapping in spec.mappings
        },
    )
    try:
        with DefaultScope.overwrite_default_scope('mmrazor'):
            return models.build(
                dict(type='mmrazor.SingleTeacherDistill', architecture=student, teacher=teacher, distiller=distiller)
            )
    except Exception as error:
        # a component that it has not, an argument that its version does not know, a source that it refuses
        got = describe_error(error, 200)
        raise UserError(Fault('mmrazor', 'components that mmrazor has too', got, 'leave mmrazor out')) from error


def _configs(declared: Mapping[str, Declared]) -> dict[str, Any]:
    return {name: _unscoped(part.config) for name, part in declared.items()}


def _unscoped(config: Any) -> Any:
    """Types of ours under the names that mmrazor has them under too."""
    if isinstance(config, (list, tuple)):
        return [_unscoped(part) for part in config]
    if not isinstance(config, Mapping):
        return config
    return {
        key: value.removeprefix(OWN_SCOPE) if key == 'type' and isinstance(value, str) else _unscoped(value)
        for key, value in config.items()
    }


def _mapping(record: RecordSpec) -> dict[str, Any]:
    keys = ('recorder', 'from_student', 'record_idx', 'data_idx', 'connector', 'connector_idx')
    found = {key: getattr(record, key) for key in keys}
    return {key: value for key, value in found.items() if value is not None}
