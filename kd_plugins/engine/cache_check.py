"""A training from a teacher cache that does not fit is refused before its first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.runner import Runner

from kd_plugins.datasets import ReplayedViews, ResumableSampler, ViewSampler
from kd_plugins.datasets.dataset_wrapper import DatasetWrapper
from kd_plugins.engine.cache_config import place_of_views
from kd_plugins.engine.cache_data import data_fingerprint
from kd_plugins.engine.model_of import model_of
from kd_plugins.errors import Fault, UserError
from kd_plugins.teacher.cache import TeacherCache, teacher_fingerprint, uses_of

T = TypeVar('T')


def check_teacher_cache(runner: Runner) -> None:
    """Hold the cache of a runner's model, if it has one, against its teacher, its data and the libraries.

    Args:
        runner: With its data loaded.

    Raises:
        UserError: With each part that differs, or the files that are missing or cut off.
    """
    model: Any = model_of(runner)
    cache = getattr(model, 'teacher_cache', None)
    if not isinstance(cache, TeacherCache):
        return
    dataset, sampler = _training_data(runner)
    config = place_of_views(runner.cfg.train_dataloader).dataset.dataset

    def check() -> None:
        # the state of the cache first: it takes no time
        _ = cache.files
        found = {**teacher_fingerprint(model), **data_fingerprint(dataset, config)}
        cache.check(found, uses_of(model.distiller, model.teacher))

    on_first_process(check)
    cache.checked = True
    if dataset.views > 1 and not isinstance(sampler, ViewSampler):
        advice = "write sampler=dict(type='kd_plugins.ViewSampler', sampler=…)"
        got = type(sampler).__name__
        raise UserError(Fault('train_dataloader.sampler', 'ViewSampler, which chooses the views', got, advice))


def on_first_process(function: Callable[[], T]) -> T:
    """Call a function in the first of several processes; all get what it returns, or the UserError that it raises."""
    outcome: list[Any] = [None, ()]
    if is_main_process():
        try:
            outcome[0] = function()
        except UserError as error:
            outcome[1] = error.faults
    broadcast_object_list(outcome)
    if outcome[1]:
        raise UserError(*outcome[1])
    return outcome[0]


def _training_data(runner: Runner) -> tuple[ReplayedViews, Any]:
    loader: Any = runner.train_loop.dataloader
    # num_batch_per_epoch puts a wrapper of mmengine's around it
    dataset = getattr(loader.dataset, '_dataset', loader.dataset)
    while isinstance(dataset, DatasetWrapper) and not isinstance(dataset, ReplayedViews):
        dataset = dataset.dataset
    if not isinstance(dataset, ReplayedViews):
        advice = "write dataset=dict(type='kd_plugins.ReplayedViews', dataset=…)"
        raise UserError(Fault('train_dataloader.dataset', 'ReplayedViews', type(dataset).__name__, advice))
    sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
    return dataset, sampler.sampler if isinstance(sampler, ResumableSampler) else sampler
