"""Runs of one process have nothing of each other."""

import time
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from toy import runner_config

from kd_plugins.engine.resume import ResumableRunner, build_runner


@pytest.fixture
def _one_second(monkeypatch):
    """Time stands still for what names runs."""
    now = time.time()
    monkeypatch.setattr(time, 'time', lambda: now)


@pytest.mark.usefixtures('_one_second')
def test_two_that_begin_in_one_second_share_nothing(tmp_path):
    first, second = (build_runner(Config(runner_config(tmp_path / name))) for name in ('first', 'second'))
    assert first.experiment_name != second.experiment_name
    assert first.message_hub is not second.message_hub
    assert first.visualizer is not second.visualizer
    assert first.logger is not second.logger
    for runner, name in ((first, 'first'), (second, 'second')):
        runner.logger.error(f'said by the {name}')
        (log,) = Path(tmp_path, name).glob('*/*.log')
        assert f'said by the {name}' in log.read_text()
        assert log.parent.name == runner.timestamp


@pytest.mark.parametrize('written', ['Runner', Runner])
def test_mmengines_runner_written_out_is_the_one_that_resumes(written, tmp_path):
    config = Config(runner_config(tmp_path, runner_type=written))
    assert type(build_runner(config)) is ResumableRunner
