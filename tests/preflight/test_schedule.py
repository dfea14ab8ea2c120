"""Optimisers and schedules that cannot be built are refused with their key path."""

import pytest
from mmengine.config import Config
from torch import nn

from kd_plugins.preflight.schedule import schedule_faults

GOOD = dict(
    train_cfg=dict(by_epoch=True, max_epochs=10),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, end=2, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', begin=2, T_max=8),
    ],
)


def faults(**changes):
    return schedule_faults(Config({**GOOD, **changes}), nn.Linear(2, 2))


def test_a_good_one_leaves_no_trace():
    config = Config(GOOD)
    before = config.pretty_text
    assert schedule_faults(config, nn.Linear(2, 2)) == []
    assert config.pretty_text == before
    assert faults(param_scheduler=None) == faults(param_scheduler=dict(type='MultiStepLR', milestones=[5])) == []


@pytest.mark.parametrize(
    ('changes', 'where', 'said'),
    [
        (dict(optim_wrapper=dict(optimizer=dict(type='SGD', lrr=0.1))), 'optim_wrapper.optimizer.lrr', "'lrr'"),
        (dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=-1))), 'optim_wrapper.optimizer', 'learning rate'),
        (dict(optim_wrapper=dict()), 'optim_wrapper', 'optimizer'),
        (dict(param_scheduler=[dict(type='LinearLR', begin=5, end=2)]), 'param_scheduler.0', 'end'),
        (dict(param_scheduler=dict(type='MultiStepLR', milestone=[5])), 'param_scheduler', 'milestone'),
    ],
)
def test_what_cannot_be_built(changes, where, said):
    found = faults(**changes)
    assert len(found) == 1
    assert found[0].where.startswith(where)
    assert said in found[0].got
