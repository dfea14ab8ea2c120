"""Numeric parity with mmrazor 1.0.0: the cases, and how they are measured."""

import kd_plugins.compat.mmrazor  # noqa: F401  makes mmrazor importable
from kd_plugins.compat.parity.case import Case, Difference, measure
from kd_plugins.compat.parity.feature_losses import FEATURE_LOSSES
from kd_plugins.compat.parity.logit_losses import LOGIT_LOSSES

CASES = [*LOGIT_LOSSES, *FEATURE_LOSSES]

__all__ = ['CASES', 'Case', 'Difference', 'measure']
