"""Which checkpoint a training goes on from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd_plugins.checkpoint import OWN_KEY, Found, newest_whole_checkpoint, read_checkpoint, remove_unfinished
from kd_plugins.engine.distributed import JOB, LAUNCHED, rank_of_speaker, was_restarted
from kd_plugins.errors import Fault, UserError


def choose_checkpoint(config: Any) -> list[str]:
    """Write into a config that is to be resumed from where, and with which seed.

    A process that a launcher has started again goes on from what was saved since the launch, if anything was, whatever
    the config says; if nothing was, it begins as the config says.

    Args:
        config: The whole config. ``resume`` may be a path, or ``'auto'`` for the newest checkpoint of the work_dir;
            True, as mmengine has it, is ``load_from`` where that is a path, and ``'auto'`` else. It is True or False
            afterwards; ``load_from`` and ``randomness.seed`` are changed if it is True.

    Returns:
        What the user should know.

    Raises:
        UserError: There are checkpoints, and none of them is whole.
    """
    launcher = config.get('launcher', 'none')
    asked, restarted = config.get('resume'), was_restarted(launcher)
    if not asked and not restarted:
        return []
    path = asked if isinstance(asked, str) or not asked else config.get('load_from')
    newest = asked and path in (None, '', 'auto')
    told = []
    if restarted or newest:
        found = _look(config, None if newest else _of_this_launch(launcher))
        told = [f'warning: {other} is passed over: {why}' for other, why in found.passed_over.items()]
        if found.path is None and newest:
            told.append(f'no checkpoint to resume from in {config.work_dir}: the training begins')
        path = found.path or (None if newest else path)
    # mmengine would follow its note to a file that is gone
    config.resume = bool(path)
    if path:
        config.load_from = str(path)
        told += _take_seed(config)
    return told


def _of_this_launch(launcher: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a checkpoint was saved since the launch; what lay there before is another training's."""
    if launcher == 'slurm':
        job = os.environ.get(JOB)
        return lambda saved: job is not None and saved.get(OWN_KEY, {}).get('job') == job
    since = os.environ.get(LAUNCHED, '')
    return lambda saved: str(saved['meta'].get('time', '')) >= since


def _look(config: Any, counts: Callable[[dict[str, Any]], bool] | None) -> Found:
    folders = [Path(config.work_dir), *_folders_elsewhere(config)]
    if rank_of_speaker() == 0:
        for folder in folders:
            remove_unfinished(folder)
    found = newest_whole_checkpoint(*folders, counts=counts)
    if found.path is None and found.passed_over:
        got = '; '.join(f'{path}: {why}' for path, why in found.passed_over.items())
        raise UserError(Fault('--resume', f'a checkpoint in {config.work_dir} that is whole', got, 'start anew'))
    return found


def _take_seed(config: Any) -> list[str]:
    seed = _seed_of(config.load_from)
    randomness = dict(config.get('randomness') or {})
    given = randomness.get('seed')
    if seed is None or given == seed:
        return []
    config.randomness = {**randomness, 'seed': seed}
    return [] if given is None else [f'warning: seed {seed} of the checkpoint is used, not {given}']


def _folders_elsewhere(config: Any) -> list[Path]:
    """The folder that checkpoints are saved to, where that is another."""
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    out_dir = hook.get('out_dir') if isinstance(hook, dict) else None
    # mmengine adds the name of the work_dir
    return [Path(out_dir) / Path(config.work_dir).name] if out_dir else []


def _seed_of(path: str) -> int | None:
    meta = read_checkpoint(path, '--resume').get('meta')
    seed = meta.get('seed') if isinstance(meta, dict) else None
    return seed if isinstance(seed, int) else None
