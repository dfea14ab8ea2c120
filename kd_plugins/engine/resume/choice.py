"""Which checkpoint a training goes on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kd_plugins.checkpoint import Found, newest_whole_checkpoint, read_checkpoint, remove_unfinished
from kd_plugins.engine.distributed import LAUNCHED, rank_of_speaker, was_restarted
from kd_plugins.errors import Fault, UserError


def choose_checkpoint(config: Any) -> list[str]:
    """Write into a config that is to be resumed from where, and with which seed.

    A process that a launcher has started again goes on from what was saved, if anything was, whatever the config says;
    if nothing was, it begins as the config says.

    Args:
        config: The whole config; ``resume``, ``load_from`` and ``randomness.seed`` are changed.

    Returns:
        What the user should know.

    Raises:
        UserError: There are checkpoints, and none of them is whole.
    """
    asked, restarted = bool(config.get('resume')), was_restarted()
    if not asked and not restarted:
        return []
    told = []
    if restarted or not config.get('load_from'):
        # without --resume, what lies there from before the launch is another training's
        found = _look(config, os.environ.get(LAUNCHED, '') if not asked else '')
        told = [f'warning: {path} is passed over: {why}' for path, why in found.passed_over.items()]
        if found.path is not None:
            config.resume, config.load_from = True, str(found.path)
        elif not config.get('load_from'):
            # mmengine would follow its note to a file that is gone
            config.resume = False
            told += [f'no checkpoint to resume from in {config.work_dir}: the training begins'] if asked else []
    return [*told, *_take_seed(config)] if config.get('resume') else told


def _look(config: Any, since: str) -> Found:
    folders = [Path(config.work_dir), *_folders_elsewhere(config)]
    if rank_of_speaker() == 0:
        for folder in folders:
            remove_unfinished(folder)
    found = newest_whole_checkpoint(*folders, since=since)
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
