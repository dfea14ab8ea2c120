"""Algorithms: the models that mmengine's Runner trains."""

from kd_plugins.algorithms.single_teacher_distill import SingleTeacherDistill

__all__ = ['SingleTeacherDistill']
