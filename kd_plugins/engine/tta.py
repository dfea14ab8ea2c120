"""Test-time augmentation: the predictions of several views of an image, merged into one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from kd_plugins.build import FALLBACK_SCOPE, build_component
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import pipeline_of
from kd_plugins.preflight.types import type_faults

PIPELINE = 'test_dataloader.dataset.pipeline'


def use_tta_pipeline(config: Any) -> None:
    """Have the test data of a config give several views of each image.

    They are those of ``tta_pipeline``, or the image and its mirror image, where a config of mmpretrain has none.

    Args:
        config: The whole config, with ``default_scope``; the pipeline of its test data is replaced.

    Raises:
        UserError: There is no pipeline to replace, or none to take its place.
    """
    dataset = config.test_dataloader.dataset
    # below what wraps a data set
    while isinstance(dataset, dict) and 'pipeline' not in dataset:
        dataset = dataset.get('dataset')
    if not isinstance(dataset, dict) or not pipeline_of(dataset):
        advice = 'test without --tta, or give the data set a pipeline'
        raise UserError(Fault(PIPELINE, 'a pipeline, which --tta replaces', 'none, or several of them', advice))
    dataset['pipeline'] = _pipeline(config, dataset['pipeline'])


def use_tta_model(runner: Runner, config: Any) -> None:
    """Have a runner merge the predictions of the views by ``tta_model``, or else average mmpretrain's scores.

    The model is wrapped for the test alone: a checkpoint, and hooks such as ``EMAHook``, find it as it was trained.

    Args:
        runner: Before its test, with its test loop built.
        config: The whole config.

    Raises:
        UserError: There is no such model, it cannot be built, or the data give one view of an image, which mmengine
            would cut into pieces.
    """
    merging = config.get('tta_model')
    if merging is None and config.default_scope == FALLBACK_SCOPE:
        merging = dict(type='AverageClsScoreTTA')
    if merging is None:
        got = f'none, in the scope {config.default_scope}'
        raise UserError(Fault('tta_model', 'a model that merges predictions, for --tta', got, 'add it to the config'))
    if not isinstance(merging, Mapping):
        raise UserError(Fault('tta_model', 'a dict with the key type', repr(merging), "write dict(type='…')"))
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = build_component(MODELS, {**merging, 'module': runner.model}, 'tta_model')
    sample = runner.test_dataloader.dataset[0]
    if isinstance(sample, dict) and not isinstance(sample.get('inputs'), (list, tuple)):
        expected = 'a pipeline that gives several views of an image, each packed'
        advice = "end it with dict(type='TestTimeAug', transforms=[[…], [dict(type='PackInputs')]])"
        raise UserError(Fault('tta_pipeline', expected, 'one view', advice))
    runner.register_hook(_MergeViewsHook(model), priority='HIGHEST')


class _MergeViewsHook(Hook):
    """Puts the model that merges predictions in the place of the model during a test."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def before_test(self, runner: Any) -> None:
        runner.model = self.model

    def after_test(self, runner: Any) -> None:
        runner.model = self.model.module


def _pipeline(config: Any, plain: list[Any]) -> list[Any]:
    given = config.get('tta_pipeline')
    if given is None and config.default_scope == FALLBACK_SCOPE:
        *steps, pack = copy.deepcopy(plain)
        views = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
        return [*steps, ConfigDict(type='TestTimeAug', transforms=[views, [pack]])]
    if not isinstance(given, (list, tuple)) or not given:
        got = 'none' if given is None else repr(given)
        raise UserError(Fault('tta_pipeline', 'a list of transforms, for --tta', got, 'add it to the config'))
    looked_up = dict(test_dataloader=dict(dataset=dict(pipeline=given)))
    faults = type_faults(looked_up, config.default_scope)
    if faults:
        raise UserError(*(replace(fault, where=fault.where.replace(PIPELINE, 'tta_pipeline', 1)) for fault in faults))
    return copy.deepcopy(list(given))
