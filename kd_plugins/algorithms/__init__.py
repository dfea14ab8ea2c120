"""Algorithms: the models that mmengine's Runner trains."""

from kd_plugins.algorithms.comparison import Comparison, Forward
from kd_plugins.algorithms.data_free_distillation import DAFLDataFreeDistillation, DataFreeDistillation
from kd_plugins.algorithms.distill_algorithm import DistillAlgorithm
from kd_plugins.algorithms.fpn_teacher_distill import FpnTeacherDistill
from kd_plugins.algorithms.multi_teacher_distill import MultiTeacherDistill
from kd_plugins.algorithms.one_step_distill import OneStepDistill
from kd_plugins.algorithms.overhaul_feature_distillation import OverhaulFeatureDistillation
from kd_plugins.algorithms.self_distill import SelfDistill
from kd_plugins.algorithms.single_teacher_distill import SingleTeacherDistill

__all__ = [
    'Comparison',
    'DAFLDataFreeDistillation',
    'DataFreeDistillation',
    'DistillAlgorithm',
    'Forward',
    'FpnTeacherDistill',
    'MultiTeacherDistill',
    'OneStepDistill',
    'OverhaulFeatureDistillation',
    'SelfDistill',
    'SingleTeacherDistill',
]
