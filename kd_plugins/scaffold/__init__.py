"""Scaffold: a new distillation config from the names of two models."""

from kd_plugins.scaffold.data import DATASETS
from kd_plugins.scaffold.method import METHODS
from kd_plugins.scaffold.page import write_page
from kd_plugins.scaffold.plan import Request, make_plan
from kd_plugins.scaffold.write import check_target, write_checked

__all__ = ['DATASETS', 'METHODS', 'Request', 'check_target', 'make_plan', 'write_checked', 'write_page']
