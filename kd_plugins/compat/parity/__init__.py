"""Numeric parity with mmrazor 1.0.0: the cases, each of which measures itself in a precision."""

import kd_plugins.compat.mmrazor  # noqa: F401  makes mmrazor importable
from kd_plugins.compat.parity.algorithms import ALGORITHM_CASES, AlgorithmCase
from kd_plugins.compat.parity.case import Case, Difference
from kd_plugins.compat.parity.connectors import CONNECTOR_CASES
from kd_plugins.compat.parity.crd_fbkd import CRD_FBKD_CASES
from kd_plugins.compat.parity.feature_losses import FEATURE_LOSSES
from kd_plugins.compat.parity.generators import GENERATOR_CASES
from kd_plugins.compat.parity.logit_losses import LOGIT_LOSSES
from kd_plugins.compat.parity.recorders import RECORDER_CASES

CASES = [
    *LOGIT_LOSSES,
    *FEATURE_LOSSES,
    *CRD_FBKD_CASES,
    *CONNECTOR_CASES,
    *GENERATOR_CASES,
    *RECORDER_CASES,
    *ALGORITHM_CASES,
]

__all__ = ['CASES', 'AlgorithmCase', 'Case', 'Difference']
