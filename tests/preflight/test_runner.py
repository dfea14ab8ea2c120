"""A runner that would not keep what is promised of a run is refused, or warned of, before anything is built."""

from pathlib import Path

import pytest
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from kd_plugins.engine.config import load_config
from kd_plugins.engine.resume import ResumableRunner
from kd_plugins.preflight import inspect_training
from kd_plugins.preflight.runner import runner_faults, runner_warnings
from tools import check_config, test, train

STUDENT = Path(__file__).parents[2] / 'configs/quickstart/student_cnn_digits.py'


@RUNNERS.register_module()
class PlainRunner(Runner):
    """A user's own, derived from mmengine's."""


@RUNNERS.register_module()
class OwnRunner(ResumableRunner):
    """A user's own, derived from ours."""


@pytest.mark.parametrize(
    ('strategy', 'advice'),
    [
        (None, 'tools/dist_train.sh'),
        ('SingleDeviceStrategy', 'python tools/train.py CONFIG'),
        ('DDPStrategy', 'model_wrapper_cfg'),
        ('FSDPStrategy', 'teacher_forward=dict(shard=True)'),
        ('DeepSpeedStrategy', 'tools/dist_train.sh'),
    ],
)
@pytest.mark.parametrize('runner', ['FlexibleRunner', None])
def test_one_fault_says_what_to_use_instead(runner, strategy, advice):
    config = {'runner_type': runner, 'strategy': strategy and dict(type=strategy)}
    faults = runner_faults({key: value for key, value in config.items() if value})
    if runner is None and strategy is None:
        assert faults == []
        return
    (fault,) = faults
    assert fault.where == ('runner_type' if runner else 'strategy')
    assert advice in fault.advice
    assert strategy is None or strategy in fault.got
    # no second message, with an advice that contradicts the first
    assert runner_warnings(config) == []


@pytest.mark.parametrize('name', ['FlexibleRuner', 'Runnr', 3])
def test_a_runner_that_does_not_exist(name):
    (fault,) = runner_faults(dict(runner_type=name))
    assert fault.where == 'runner_type'
    assert "'Runner'" in fault.advice or name == 3
    assert 'FlexibleRunner' not in fault.advice


@pytest.mark.parametrize('name', ['Runner', Runner, 'OwnRunner', OwnRunner])
def test_runners_that_keep_it(name):
    config = dict(runner_type=name, strategy='a helper of the config')
    assert runner_faults(config) == runner_warnings(config) == []


def test_a_runner_of_mmengines_kind_is_a_warning(tmp_path):
    config = load_config(STUDENT, dict(runner_type='PlainRunner'))
    config.work_dir = str(tmp_path)
    findings = inspect_training(config)
    assert findings.faults == []
    (warning,) = [fault for fault in findings.warnings if fault.where == 'runner_type']
    assert 'kd_plugins.engine.resume.ResumableRunner' in warning.advice


@pytest.mark.parametrize('tool', [train, test, check_config])
def test_every_tool_refuses_it_in_one_message(tool, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [str(STUDENT), *(['no.pth'] if tool is test else [])]
    options = ['runner_type=FlexibleRunner', 'strategy.type=SingleDeviceStrategy']
    assert tool.main([*arguments, '--cfg-options', *options]) == 2
    captured = capsys.readouterr()
    assert captured.err.count('error: ') == 1
    assert 'error: runner_type' in captured.err
    assert 'Traceback' not in captured.err
    assert list(tmp_path.iterdir()) == []
