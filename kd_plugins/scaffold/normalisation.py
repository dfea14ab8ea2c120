"""What becomes of the normalisation of images where a teacher was trained with another one than the student's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kd_plugins.build import beginnings
from kd_plugins.scaffold.models import Model

# what a preprocessor does where its config does not say
DEFAULTS = dict(mean=None, std=None, to_rgb=False, bgr_to_rgb=False, rgb_to_bgr=False)


@dataclass(frozen=True)
class Normalisation:
    """What a config says of it; at most one of these, and nothing where both models want the same.

    Attributes:
        on_top: Changes of the ``data_preprocessor`` on top of the config.
        in_student: Changes of the one in the student's model.
        of_teacher: What the teacher's images are converted to, as ``MultiTeacherDistill`` takes it.
    """

    on_top: dict[str, Any] = field(default_factory=dict)
    in_student: dict[str, Any] = field(default_factory=dict)
    of_teacher: dict[str, Any] = field(default_factory=dict)


def settle_normalisation(inherited: Mapping[str, Any], student: Model, teacher: Model) -> Normalisation:
    """Let each model have images as its weights know them.

    A student that begins with weights keeps its normalisation, and the teacher's images are converted. One that does
    not takes over the teacher's.

    Args:
        inherited: The config whose data the new one inherits.
        student: The student.
        teacher: The teacher, with trained weights.
    """
    # mmengine's Runner gives the one on top to what it trains, where it stands for the student's
    on_top = inherited.get('data_preprocessor')
    own = on_top or student.whole.model.get('data_preprocessor') or {}
    wanted = teacher.whole.model.get('data_preprocessor') or teacher.whole.get('data_preprocessor') or {}
    if _in_effect(own) == _in_effect(wanted):
        return Normalisation()
    if any(beginnings(student.whole.model)):
        return Normalisation(of_teacher=_in_effect(wanted))
    changes = {key: wanted.get(key, default) for key, default in DEFAULTS.items() if key in own or key in wanted}
    return Normalisation(on_top=changes) if on_top else Normalisation(in_student=changes)


def _in_effect(preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation of each channel, and whether the channels' order, BGR, is reversed."""
    return dict(
        mean=list(preprocessor.get('mean') or [0.0] * 3),
        std=list(preprocessor.get('std') or [1.0] * 3),
        to_rgb=any(preprocessor.get(key) for key in DEFAULTS if key not in ('mean', 'std')),
    )
