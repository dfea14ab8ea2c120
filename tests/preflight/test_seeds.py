"""Processes that would imagine the same images are refused before the training."""

import pytest
from mmengine.config import Config
from toy import runner_config

from kd_plugins.preflight.check import inspect_training

WHERE = 'randomness.diff_rank_seed'
LOSS = dict(type='KLDivergence', student='fc', teacher='one.fc')


def data_free(kind):
    sides = dict(type='ConfigurableDistiller', distill_losses=dict(loss=LOSS))
    return dict(
        type=f'kd_plugins.{kind}',
        architecture=dict(type='ToyClassifier'),
        teachers=dict(one=dict(build_cfg=dict(type='ToyClassifier', channels=6))),
        generator=dict(type='ZSKTGenerator', img_size=8, latent_dim=3, hidden_channels=4),
        distiller=sides,
        generator_distiller=sides,
    )


def faults_of(folder, launcher, model=None, **changes):
    config = Config(runner_config(folder, model, launcher=launcher, **changes))
    return [fault for fault in inspect_training(config).faults if fault.where == WHERE]


@pytest.mark.parametrize('kind', ['DataFreeDistillation', 'DAFLDataFreeDistillation'])
@pytest.mark.parametrize('randomness', [None, dict(seed=0), dict(seed=0, diff_rank_seed=False)])
def test_one_seed_for_all_processes(tmp_path, kind, randomness):
    (fault,) = faults_of(tmp_path, 'pytorch', data_free(kind), randomness=randomness)

    assert fault.advice == 'write randomness=dict(diff_rank_seed=True)'
    assert not faults_of(tmp_path, 'none', data_free(kind), randomness=randomness)


def test_a_seed_for_each_process(tmp_path):
    randomness = dict(seed=0, diff_rank_seed=True)
    assert not faults_of(tmp_path, 'pytorch', data_free('DataFreeDistillation'), randomness=randomness)


def test_data_are_dealt_out_whatever_the_seed(tmp_path):
    assert not faults_of(tmp_path, 'pytorch')
