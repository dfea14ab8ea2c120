"""The teacher: built, loaded, frozen."""

from kd_plugins.teacher.build import build_teacher, loads_itself
from kd_plugins.teacher.frozen_teacher import FrozenTeacher

__all__ = ['FrozenTeacher', 'build_teacher', 'loads_itself']
