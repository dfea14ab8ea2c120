"""Mixed precision on a CPU trains, accumulates, clips and resumes as mmengine's does on a GPU."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn
from toy import algorithm_config, make_runner, runner_config, snapshot, toy_batch

from kd_plugins.engine.cpu_amp_optim_wrapper import CPUAmpOptimWrapper
from kd_plugins.errors import UserError

KIND = 'kd_plugins.CPUAmpOptimWrapper'
HALF = ('bfloat16', 'float16')
# bfloat16 keeps 8 bits of a number, and a gradient is a sum of many
BFLOAT16 = 2e-2


def still_algorithm():
    """The toy pair without what depends on the batch or on chance."""
    torch.manual_seed(0)
    algorithm = MODELS.build(dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config())).train()
    for module in algorithm.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.Dropout)):
            module.eval()
    return algorithm


def wrap(algorithm, **options):
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=1.0)
    return MMENGINE_OPTIM_WRAPPERS.build(dict(type=KIND, optimizer=optimizer, **options))


def update(algorithm, wrapper, batch):
    """How the weights change in a step of each part of a batch."""
    before = snapshot(algorithm)
    for part in batch:
        with wrapper.optim_context(algorithm):
            losses = algorithm(**part, mode='loss')
        wrapper.update_params(algorithm.parse_losses(losses)[0])
    return torch.cat([(weight - before[name]).flatten() for name, weight in algorithm.state_dict().items()])


def relative(update, other):
    return ((update - other).norm() / other.norm()).item()


@pytest.mark.parametrize('dtype', HALF)
def test_step_is_that_of_float32_but_for_rounding(dtype):
    plain = still_algorithm()
    optimizer = torch.optim.SGD(plain.parameters(), lr=1.0)
    expected = update(plain, OptimWrapper(optimizer), [toy_batch(8)])

    algorithm = still_algorithm()
    mixed = update(algorithm, wrap(algorithm, dtype=dtype), [toy_batch(8)])

    assert 0 < relative(mixed, expected) < BFLOAT16
    assert {weight.dtype for weight in algorithm.parameters()} == {torch.float32}


@pytest.mark.parametrize('dtype', HALF)
def test_accumulated_halves_equal_the_whole_batch(dtype):
    batch = toy_batch(8)
    halves = [{name: value.chunk(2)[half] for name, value in batch.items()} for half in range(2)]
    whole = still_algorithm()
    expected = update(whole, wrap(whole, dtype=dtype), [batch])

    algorithm = still_algorithm()
    accumulated = update(algorithm, wrap(algorithm, dtype=dtype, accumulative_counts=2), halves)

    assert relative(accumulated, expected) < BFLOAT16
    # and it is not the step of the last half alone
    half = still_algorithm()
    assert relative(update(half, wrap(half, dtype=dtype), halves[1:]), expected) > 5 * BFLOAT16


@pytest.mark.parametrize('dtype', HALF)
def test_clips_the_gradient_and_not_the_scaled_one(dtype):
    algorithm = still_algorithm()
    wrapper = wrap(algorithm, dtype=dtype, clip_grad=dict(max_norm=0.01))
    assert update(algorithm, wrapper, [toy_batch(8)]).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_distill_losses_are_in_float32_and_records_in_half_precision():
    algorithm = still_algorithm()
    dtypes = set()
    for loss in algorithm.distiller.distill_losses.values():
        loss.register_forward_pre_hook(
            lambda _, args, kwargs: dtypes.update(v.dtype for v in kwargs.values()), with_kwargs=True
        )
    with wrap(algorithm).optim_context(algorithm):
        losses = algorithm(**toy_batch(4), mode='loss')
    assert dtypes == {torch.bfloat16}
    assert {name: loss.dtype for name, loss in losses.items() if name.startswith('distill.')} == {
        'distill.loss_feature': torch.float32,
        'distill.loss_logits': torch.float32,
    }


def test_only_float16_scales_the_loss():
    scales = {dtype: wrap(still_algorithm(), dtype=dtype).loss_scaler.get_scale() for dtype in HALF}
    assert scales == {'bfloat16': 1.0, 'float16': 65536.0}
    assert wrap(still_algorithm(), dtype=torch.float16, loss_scale=8.0).loss_scaler.get_scale() == 8.0
    assert wrap(still_algorithm(), dtype='float16', loss_scale=dict(init_scale=4.0)).loss_scaler.get_scale() == 4.0


def test_a_step_that_overflows_is_left_out_and_the_scale_falls():
    algorithm = still_algorithm()
    wrapper = wrap(algorithm, dtype='float16', loss_scale=dict(init_scale=2.0**120))
    assert update(algorithm, wrapper, [toy_batch(4)]).abs().sum() == 0
    assert wrapper.loss_scaler.get_scale() == 2.0**119


@pytest.mark.parametrize(('saved', 'loaded'), [(a, b) for a in (*HALF, None) for b in HALF])
def test_state_of_another_precision_is_loaded(saved, loaded):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    if saved is None:
        state = OptimWrapper(optimizer).state_dict()
    else:
        state = CPUAmpOptimWrapper(optimizer=optimizer, dtype=saved, loss_scale=dict(init_scale=4.0)).state_dict()
    wrapper = CPUAmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), dtype=loaded)
    wrapper.load_state_dict(state)
    assert wrapper.get_lr()['lr'] == [0.5]
    if loaded == 'float16':
        assert wrapper.loss_scaler.get_scale() == (4.0 if saved == 'float16' else 65536.0)


@pytest.mark.parametrize('dtype', HALF)
def test_runner_trains_and_resumes(dtype, tmp_path):
    """Two epochs in one go, and one that is continued from its checkpoint."""
    settings = dict(
        optim_wrapper=dict(type=KIND, dtype=dtype, optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
    )
    # of a model without chance, as the state of the random numbers is not in a checkpoint
    model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config())
    straight = make_runner(tmp_path / 'straight', model, epochs=2, **settings)
    without_dropout(straight).train()
    without_dropout(make_runner(tmp_path / 'parts', model, **settings)).train()
    config = runner_config(tmp_path / 'parts', model, epochs=2, **settings)
    resumed = without_dropout(Runner.from_cfg(Config({**config, 'resume': True})))
    resumed.train()

    assert resumed.iter == straight.iter == 4
    assert isinstance(resumed.optim_wrapper, CPUAmpOptimWrapper)
    for name, weight in straight.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weight, msg=name)
    saved = torch.load(tmp_path / 'parts/epoch_2.pth', weights_only=True)['optimizer']['loss_scaler']
    assert bool(saved) == (dtype == 'float16')


def without_dropout(runner):
    runner.model.architecture.dropout.p = 0.0
    return runner


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(dtype='float32'), "dtype: expected one of 'bfloat16', 'float16', got 'float32'"),
        (dict(loss_scale='static'), "loss_scale: expected 'dynamic', a float or a dict, got 'static'"),
    ],
)
def test_what_is_no_mixed_precision(options, message):
    with pytest.raises(UserError, match=message):
        wrap(nn.Linear(1, 1), **options)
