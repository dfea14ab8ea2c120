"""Which keys of a config a grid names."""

import pytest
from mmengine.config import Config

from kd_plugins.errors import UserError
from kd_plugins.sweep.grid import combinations, name_of, places, with_options


@pytest.fixture
def config():
    losses = dict(
        loss_kl=dict(type='KLDivergence', tau=4, loss_weight=1.0), loss_s4=dict(type='L2Loss', loss_weight=10)
    )
    return Config(
        dict(
            default_scope='mmpretrain',
            # a variable of the file, which no run reads
            tau=4,
            model=dict(type='SingleTeacherDistill', distiller=dict(distill_losses=losses)),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            param_scheduler=[dict(type='LinearLR', end=3), dict(type='CosineAnnealingLR', end=10)],
            train_cfg=dict(max_epochs=10),
            work_dir='somewhere',
            randomness=dict(seed=0),
        )
    )


def test_every_combination(config):
    assert combinations(config, {'tau': [2, 4], 'lr': [0.1, 0.2]}) == [
        {'tau': 2, 'lr': 0.1},
        {'tau': 2, 'lr': 0.2},
        {'tau': 4, 'lr': 0.1},
        {'tau': 4, 'lr': 0.2},
    ]
    assert combinations(config, {'tau': 2}) == [{'tau': 2}]
    assert combinations(config, {}) == [{}]


@pytest.mark.parametrize(
    ('key', 'path'),
    [
        ('tau', 'model.distiller.distill_losses.loss_kl.tau'),
        ('loss_s4.loss_weight', 'model.distiller.distill_losses.loss_s4.loss_weight'),
        ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.lr'),
        ('param_scheduler.1.end', 'param_scheduler.1.end'),
    ],
)
def test_a_key_or_its_end(config, key, path):
    assert places(config, key) == [path]


def test_sets_all_that_belong_together(config):
    config.model.distiller.distill_losses.loss_two = dict(type='KDSoftCELoss', tau=4)
    changed = with_options(config, {'tau': 9, 'param_scheduler.1.end': 12})
    assert [loss.get('tau') for loss in changed.model.distiller.distill_losses.values()] == [9, None, 9]
    assert changed.param_scheduler[1]['end'] == 12
    assert changed.param_scheduler[0]['end'] == 3
    assert config.model.distiller.distill_losses.loss_kl.tau == 4


@pytest.mark.parametrize(
    ('grid', 'expected'),
    [
        ({'taw': [1]}, "did you mean 'tau'"),
        ({'model.distiller.distill_losses.loss_k.tau': [1]}, 'model.distiller.distill_losses.loss_kl.tau'),
        ({'loss_weight': [1, 2]}, 'loss_s4.loss_weight (10)'),
        ({'end': [1]}, 'param_scheduler.0.end (3), param_scheduler.1.end (10)'),
        ({'tau': []}, 'write tau=1,2'),
        ({'tau': [2, 4, 2]}, 'each value once'),
        ({'seed': [0, 1]}, '--seeds N trains with the seeds 0 to N-1'),
        ({'work_dir': ['a']}, '--seeds N'),
    ],
)
def test_refuses(config, grid, expected):
    with pytest.raises(UserError) as error:
        combinations(config, grid)
    assert expected in str(error.value)


def test_names_are_those_of_folders():
    assert name_of({'tau': 4, 'param_scheduler.1.end': 3.5}) == 'tau=4,param_scheduler.1.end=3.5'
    assert name_of({}) == ''
    # what cannot be a part of a name is replaced, and another value still has another folder
    names = [name_of({'model.teacher_ckpt': path}) for path in ('a/b.pth', 'a_b.pth', 'a:b.pth', 'c' * 300, 'c' * 301)]
    assert names[0].startswith('model.teacher_ckpt=a_b.pth-')
    assert len(set(names)) == 5
    assert max(map(len, names)) < 120
