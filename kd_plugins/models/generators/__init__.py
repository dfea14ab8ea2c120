"""Generators of images, for distillation without data."""

from kd_plugins.models.generators.dafl_generator import DAFLGenerator
from kd_plugins.models.generators.zskt_generator import ZSKTGenerator

__all__ = ['DAFLGenerator', 'ZSKTGenerator']
