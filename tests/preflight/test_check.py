"""check_training refuses what cannot run, leaves no trace, and does not refuse what it cannot judge."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from kd_plugins.engine.config import load_config
from kd_plugins.errors import UserError
from kd_plugins.preflight import check_training, inspect_training

STUDENT = Path(__file__).parents[2] / 'configs/quickstart/student_cnn_digits.py'


@pytest.fixture
def config(tmp_path):
    config = load_config(STUDENT)
    config.work_dir = str(tmp_path)
    return config


def test_a_good_config_passes_without_a_trace(config, tmp_path, capsys):
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    written = config.pretty_text

    check_training(config)

    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]
    assert config.pretty_text == written
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ''


def test_a_device_that_is_elsewhere(config, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    config.optim_wrapper.type = 'AmpOptimWrapper'
    with pytest.raises(UserError, match=r'^optim_wrapper\.type: expected a GPU for AmpOptimWrapper'):
        check_training(config)

    findings = inspect_training(config, ready=False)

    assert findings.faults == []
    assert [fault.where for fault in findings.warnings] == ['optim_wrapper.type']


def test_a_model_that_its_own_data_cannot_run_through(config):
    config.model.head.in_channels = 77  # the classifier gets 128
    with pytest.raises(UserError) as caught:
        check_training(config)
    (fault,) = caught.value.faults
    assert fault.where == 'model.head'
    assert 'RuntimeError' in fault.got
    assert 'in head.fc' in fault.got


def test_all_that_is_missing_is_said_at_once(config):
    config.train_cfg = None
    config.optim_wrapper = None
    config.custom_hooks = [dict(type='EMAHok')]
    with pytest.raises(UserError) as error:
        check_training(config)
    assert [fault.where for fault in error.value.faults] == ['train_cfg', 'optim_wrapper', 'custom_hooks.0.type']


def test_none_switches_off_default_hooks_of_mmengine_alone(config):
    config.default_hooks = dict(timer=None, visualization=None)
    assert [fault.where for fault in inspect_training(config).faults] == ['default_hooks.visualization']
