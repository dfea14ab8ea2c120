"""Bad files of a config's data: where they are noticed, and how a run says that one has ended it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.runner import BaseLoop, Runner

from kd_plugins.datasets.bad_files import BadFileError
from kd_plugins.engine.cache_config import SOUND, is_type
from kd_plugins.errors import Fault, UserError

JOURNAL = 'bad_files.jsonl'
PARTS = ('train', 'val', 'test')


def use_sound_data(config: Any) -> None:
    """Wrap the data sets of a config in ``SoundSamples``, after the preflight has looked at them as they were written.

    Of the training data, ``bad_files.replace`` many may be replaced, which are listed in the work_dir; a bad file of
    the validation or test data is fatal. A data set that is no config stays as it is.

    Args:
        config: The whole config, ``work_dir`` included; its data loaders are changed.
    """
    journal = Path(config.work_dir) / JOURNAL
    arguments = dict(journal=str(journal), since=journal.stat().st_size if journal.exists() else 0)
    arguments |= config.get('bad_files') or {}
    for part in PARTS:
        loader = config.get(f'{part}_dataloader')
        if isinstance(loader, dict) and isinstance(loader.get('dataset'), dict):
            loader['dataset'] = _wrapped(loader['dataset'], arguments if part == 'train' else {})


def as_written(config: Any) -> dict[str, Any]:
    """A config whose data sets are at the key paths that the user wrote, for messages.

    Args:
        config: The whole config, as a dict; it stays as it is.
    """
    written = dict(config)
    for part in PARTS:
        loader = config.get(f'{part}_dataloader')
        if isinstance(loader, dict):
            written[f'{part}_dataloader'] = {**loader, 'dataset': _unwrapped(loader.get('dataset'))}
    return written


def show_as_written(runner: Runner) -> None:
    """Let hooks that look for the pipeline of a data set in ``runner.cfg`` find it where the user wrote it.

    Args:
        runner: Its loops are built from configs of its own.
    """
    written = as_written(runner.cfg._cfg_dict)
    for name in (f'{part}_dataloader' for part in PARTS):
        if name in written:
            runner.cfg[name] = written[name]


@contextmanager
def bad_files_refused(runner: Runner) -> Iterator[None]:
    """Say what is to be done about a bad file that ends a training or a test inside the context.

    Args:
        runner: Of the run.

    Raises:
        UserError: A sample could not be loaded from its file, and may not be replaced.
    """
    try:
        yield
    except BadFileError as error:
        part = _part_of(error, runner)
        got, advice = f'{error.file}, which {error.problem}', 'put a whole file in its place, or leave it out'
        if part == 'train':
            advice += f', or let others replace up to N bad files: bad_files=dict(replace=N), now {error.replace}'
            if error.replace:
                got += f': bad file number {error.found}; {Path(runner.work_dir) / JOURNAL} lists all'
        raise UserError(Fault(f'{part}_dataloader.dataset', 'files that can be loaded', got, advice)) from error


def _part_of(error: Exception, runner: Runner) -> str:
    """Which data were being loaded: those of the innermost loop that was running."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    loops = [frame.f_locals.get('self') for frame in frames]
    for loop in reversed(loops):
        if isinstance(loop, BaseLoop):
            for part in PARTS:
                if getattr(getattr(runner, f'_{part}_loop'), 'dataloader', None) is loop.dataloader:
                    return part
    return 'train'


def _wrapped(dataset: Any, arguments: dict[str, Any]) -> Any:
    if is_type(dataset, SOUND):
        # of the config that another run has dumped
        return ConfigDict({**dataset, **arguments})
    return ConfigDict(type=f'kd_plugins.{SOUND}', dataset=dataset, **arguments)


def _unwrapped(dataset: Any) -> Any:
    while is_type(dataset, SOUND):
        dataset = dataset['dataset']
    return dataset
