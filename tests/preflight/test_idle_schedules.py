"""A schedule that counts what its loop does not is warned about."""

import pytest
from mmengine.config import Config
from mmengine.optim import ReduceOnPlateauLR
from toy import runner_config

from kd_plugins.preflight.idle_schedules import idle_schedules

ITERATIONS, EPOCHS = dict(by_epoch=False, max_iters=20), dict(by_epoch=True, max_epochs=3)


@pytest.mark.parametrize(
    ('loop', 'schedule', 'where'),
    [
        (ITERATIONS, dict(type='MultiStepLR', milestones=[30]), 'param_scheduler.by_epoch'),
        (ITERATIONS, [dict(type='CosineAnnealingLR', T_max=9, by_epoch=True)], 'param_scheduler.0.by_epoch'),
        (ITERATIONS, dict(architecture=[dict(type='ConstantLR')]), 'param_scheduler.architecture.0.by_epoch'),
        (dict(type='IterBasedTrainLoop', max_iters=9), dict(type='StepLR', step_size=2), 'param_scheduler.by_epoch'),
        # 8 images, 4 a batch: 6 iterations
        (EPOCHS, dict(type='MultiStepLR', by_epoch=False, milestones=[6, 9]), 'param_scheduler.milestones'),
        (EPOCHS, [dict(type='LinearLR', by_epoch=False, begin=7, end=9)], 'param_scheduler.0.begin'),
    ],
)
def test_a_schedule_that_counts_what_the_loop_does_not(loop, schedule, where):
    (warning,) = idle_schedules(Config(runner_config('', train_cfg=loop, param_scheduler=schedule)))
    assert warning.where == where
    assert 'no step before the end' in warning.got


@pytest.mark.parametrize(
    ('loop', 'schedule'),
    [
        (ITERATIONS, dict(type='MultiStepLR', by_epoch=False, milestones=[30])),
        (ITERATIONS, dict(type='MultiStepLR', by_epoch=True, milestones=[30], convert_to_iter_based=True)),
        # validations count for it, and mmengine takes no by_epoch=False
        (ITERATIONS, dict(type='ReduceOnPlateauLR', monitor='accuracy/top1')),
        (ITERATIONS, dict(type=ReduceOnPlateauLR, monitor='accuracy/top1')),
        (EPOCHS, dict(type='MultiStepLR', milestones=[30])),
        (EPOCHS, dict(type='MultiStepLR', by_epoch=False, milestones=[5, 9])),
        (EPOCHS, [dict(type='LinearLR', by_epoch=False, end=9)]),
        (EPOCHS, None),
        (EPOCHS, [3, dict(type='MultiStepLR', by_epoch=False, milestones='x')]),
    ],
)
def test_schedules_that_are_right_or_are_refused_elsewhere(loop, schedule):
    assert idle_schedules(Config(runner_config('', train_cfg=loop, param_scheduler=schedule))) == []
