"""``compile`` at the top of a config means the student of an algorithm, and mmengine's step of any other model."""

import pytest
import torch._dynamo
from mmengine.config import Config
from mmengine.runner import Runner
from torch._dynamo.utils import counters
from toy import algorithm_config, runner_config

from kd_plugins.engine import launch

ALGORITHM = dict(type='kd_plugins.SingleTeacherDistill')


def completed(**config):
    config = Config({'default_scope': 'mmengine', **config})
    launch.complete_config(config)
    return config


@pytest.mark.parametrize('options', [True, False, dict(backend='eager')])
def test_moves_to_the_student(options):
    config = completed(model=ALGORITHM, compile=options)
    assert 'compile' not in config
    assert config.model.compile == options


def test_what_the_model_says_stays():
    config = completed(model=dict(**ALGORITHM, compile=False), compile=True)
    assert 'compile' not in config
    assert config.model.compile is False


@pytest.mark.parametrize('model', [dict(type='ToyClassifier'), dict(type='kd_plugins.NoSuchThing'), dict()])
def test_of_another_model_it_is_mmengines(model):
    config = completed(model=model, compile=True)
    assert config.compile is True
    assert 'compile' not in config.model


def test_nothing_to_move():
    assert 'compile' not in completed(model=ALGORITHM).model


def test_a_run_compiles_the_student_alone(tmp_path):
    torch._dynamo.reset()
    graphs = counters['stats']['unique_graphs']
    model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config())
    config = Config({'default_scope': 'mmengine', **runner_config(tmp_path, model, compile=dict(backend='aot_eager'))})
    launch.complete_config(config)
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 2
    assert counters['stats']['unique_graphs'] > graphs
    # mmengine puts a compiled train_step into the model
    assert 'train_step' not in vars(runner.model)
    assert {name.partition('.')[0] for name in runner.model.state_dict()} == {'architecture', 'distiller'}
