"""The teacher: built, loaded, frozen; or several of them."""

from kd_plugins.teacher.build import build_teacher, is_trained
from kd_plugins.teacher.frozen_teacher import FrozenTeacher
from kd_plugins.teacher.teacher_forward import TeacherForward
from kd_plugins.teacher.teachers import Teachers, are_trained, build_teachers

__all__ = [
    'FrozenTeacher',
    'TeacherForward',
    'Teachers',
    'are_trained',
    'build_teacher',
    'build_teachers',
    'is_trained',
]
