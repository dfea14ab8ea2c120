"""Whatever is done to a good config: it trains a step, or it is refused with a message that says what is wrong.

``MUTATIONS=1000 pytest tests/preflight/test_mutations.py`` draws that many examples instead of the few of every day.
"""

from __future__ import annotations

import functools
import gc
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')

from hypothesis import HealthCheck, given, settings
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from mutants import Mutant, mutants, native, of_mmrazor, pure_python

from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import prepare_training
from kd_plugins.errors import Fault, UserError

EXAMPLES = int(os.environ.get('MUTATIONS', '240'))
# of each kind: its configs, and its share of the examples
KINDS = {
    'native': (functools.cache(native), 0.4),
    'mmrazor': (functools.cache(of_mmrazor), 0.4),
    'pure': (functools.cache(pure_python), 0.2),
}


def train_a_step(config: Config) -> dict[str, Any]:
    """Everything that tools/train.py does with a config, up to the end of its first step; returns its losses."""
    runner = prepare_training(config)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    batch = next(iter(runner.train_dataloader))
    runner.model.train()
    return runner.model.train_step(batch, runner.optim_wrapper)


def read_and_train(mutant: Mutant, folder: Path) -> dict[str, Any]:
    """Write a config into a folder, read it, and train a step where that is cheap."""
    mutant.write(folder / 'config.py')
    config = load_config(folder / 'config.py')
    if not mutant.trains:
        return {}
    config.work_dir, config.launcher = str(folder / 'run'), 'none'
    try:
        return train_a_step(config)
    finally:
        forget()


def forget() -> None:
    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            handler.close()
            logger.removeHandler(handler)
    # they go by the second in which a run began
    for kind in (MMLogger, DefaultScope, MessageHub, Visualizer, *Visualizer.__subclasses__()):
        kind._instance_dict.clear()
    gc.collect()


@pytest.mark.parametrize('kind', KINDS)
def test_the_configs_are_good(kind, tmp_path):
    good = KINDS[kind][0]()
    assert len(good) >= 4
    for index, (name, settings_of_it) in enumerate(good.items()):
        (tmp_path / str(index)).mkdir()
        mutant = Mutant(name, (), settings_of_it)
        losses = read_and_train(mutant, tmp_path / str(index))
        assert any(key.startswith('distill.loss') for key in losses) == mutant.trains, name
        assert all(value.isfinite() for key, value in losses.items() if key.endswith('loss')), name


def test_all_of_mmrazors_are_mutated():
    assert len(KINDS['mmrazor'][0]()) == 31


@pytest.mark.slow
@pytest.mark.timeout(600 + 3 * EXAMPLES)
@pytest.mark.parametrize('kind', KINDS)
def test_a_mutated_config_trains_or_is_refused(kind, tmp_path_factory):
    good, share = KINDS[kind]

    # the same examples each time: a change is judged by what it changes
    @settings(
        max_examples=round(EXAMPLES * share), deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(mutant=mutants(good()))
    def check(mutant: Mutant) -> None:
        folder = tmp_path_factory.mktemp('mutated')
        refused: tuple[Fault, ...] | None = None
        try:
            read_and_train(mutant, folder)
        except UserError as error:
            refused = error.faults
        if refused is not None:
            assert refused
            assert all(all((fault.where.strip('.'), fault.expected, fault.got, fault.advice)) for fault in refused)
            assert not (folder / 'run').exists()

    check()
