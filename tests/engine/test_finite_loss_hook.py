"""FiniteLossHook lets no loss that is not finite reach the weights, and says where it comes from."""

import itertools

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from mmengine.runner import Runner
from test_no_synchronisation import waits
from toy import algorithm_config, is_same, logits_only, make_runner, runner_config, snapshot

from kd_plugins.engine import FiniteLossHook
from kd_plugins.errors import UserError

NAN = float('nan')
WITHOUT_VALIDATION = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


class Spoil(Hook):
    """Writes a number into an image of the batches of some iterations, counted from 1."""

    def __init__(self, *iterations, number=NAN, rows=(1,)):
        self.iterations = iterations
        self.number = number
        self.rows = rows

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 in self.iterations:
            data_batch['inputs'][list(self.rows)] = self.number


class States(Hook):
    """What the training consists of after each iteration, that of 0 being its begin."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def before_train(self, runner):
        self.seen.append(self.state(runner))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(self.state(runner))

    def state(self, runner):
        averages = [hook.ema_model for hook in runner.hooks if hasattr(hook, 'ema_model')]
        optimizer = runner.optim_wrapper.state_dict()
        return {
            **snapshot(runner.model),
            **{f'ema.{name}': tensor for model in averages for name, tensor in snapshot(model).items()},
            **{f'momentum.{key}': part['momentum_buffer'].clone() for key, part in optimizer['state'].items()},
            'scale': torch.tensor(optimizer.get('loss_scaler', {}).get('scale', 0.0)),
        }


def train(folder, *hooks, skip=0, **changes):
    """Train the toy pair with a FiniteLossHook and more; returns runner, its states and the user's error if any."""
    # 2 iterations an epoch
    runner = make_runner(folder, **{'epochs': 2, **WITHOUT_VALIDATION, **changes})
    states = States()
    for hook in (FiniteLossHook(skip=skip), *hooks, states):
        runner.register_hook(hook)
    try:
        runner.train()
    except UserError as error:
        return runner, states.seen, error
    return runner, states.seen, None


def moved(states):
    """Whether each iteration has changed anything."""
    return [not is_same(before, after) for before, after in itertools.pairwise(states)]


@pytest.mark.parametrize(('number', 'value'), [(NAN, 'nan'), (float('inf'), 'nan')])
def test_stops_before_the_step_and_says_why(tmp_path, number, value):
    runner, states, error = train(tmp_path, Spoil(3, number=number))

    (fault,) = error.faults
    assert fault.where == 'iteration 3'
    assert fault.expected == 'finite losses'
    assert fault.got.startswith(f'student.loss {value}, distill.loss_feature {value}, distill.loss_logits {value}; ')
    assert '; first not finite: the inputs, after the data_preprocessor; 1 of the 4 samples: batch[1]' in fault.got
    assert 'look at these samples' in fault.advice
    assert "dict(type='kd_plugins.FiniteLossHook', skip=3)" in fault.advice
    assert moved(states) == [True, True]
    parameters = dict(runner.model.named_parameters())
    assert all(torch.equal(states[-1][name], weight) for name, weight in parameters.items())


def test_a_training_without_one_is_as_without_the_hook(tmp_path):
    _, states, error = train(tmp_path / 'with', skip=1)
    assert error is None
    plain = make_runner(tmp_path / 'without', epochs=2, **WITHOUT_VALIDATION)
    plain.train()
    assert all(torch.equal(states[-1][name], tensor) for name, tensor in snapshot(plain.model).items())


def test_leaves_the_runner_as_it_was(tmp_path):
    for changes in ({}, {'hooks': [Spoil(1)]}):
        runner, _, _ = train(tmp_path, *changes.get('hooks', []))
        assert 'parse_losses' not in vars(runner.model)
        assert 'step' not in vars(runner.optim_wrapper)


@pytest.mark.parametrize('precision', ['float32', 'float16', 'bfloat16'])
def test_a_skipped_step_leaves_everything_as_it_was(tmp_path, precision):
    changes = dict(
        custom_hooks=[dict(type='EMAHook', momentum=0.5)],
        param_scheduler=dict(type='StepLR', step_size=1, gamma=0.5, by_epoch=False),
    )
    if precision != 'float32':
        changes['optim_wrapper'] = dict(
            type='kd_plugins.CPUAmpOptimWrapper', dtype=precision, optimizer=dict(type='SGD', lr=0.05, momentum=0.9)
        )

    runner, states, error = train(tmp_path, Spoil(2, 3), skip=2, **changes)

    assert error is None
    assert moved(states) == [True, False, False, True]
    assert all(torch.isfinite(tensor).all() for tensor in states[-1].values())
    # as without a skipped step
    assert runner.optim_wrapper.get_lr()['lr'] == [0.05 / 2**3]
    assert runner.message_hub.get_info('skipped_steps') == 2
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'Skipped step 1 of at most 2: iteration 2, student.loss nan' in log
    assert 'Skipped step 2 of at most 2: iteration 3, student.loss nan' in log


def test_stops_when_all_skips_are_used_up(tmp_path):
    _, states, error = train(tmp_path, Spoil(1, 3, 4), skip=2)

    assert moved(states) == [False, True, False]
    (fault,) = error.faults
    assert fault.where == 'iteration 4'
    assert fault.expected == 'finite losses after 2 skipped steps'
    assert 'raise skip of FiniteLossHook above 2' in fault.advice


def test_a_resumed_training_goes_on_counting(tmp_path):
    save = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=True)))
    _, _, error = train(tmp_path, Spoil(1), skip=1, epochs=1, **save)
    assert error is None

    _, _, error = train(tmp_path, Spoil(4), skip=1, epochs=2, resume=True, **save)

    assert error.faults[0].where == 'iteration 4'
    assert not list(tmp_path.glob('epoch_2.pth'))


class TestAccumulation:
    changes = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9), accumulative_counts=2))

    @pytest.mark.parametrize('bad', [1, 2])
    def test_a_bad_loss_spoils_the_whole_step(self, tmp_path, bad):
        _, states, error = train(tmp_path, Spoil(bad), skip=1, **self.changes)

        assert error is None
        assert is_same(states[0], states[2])
        assert not is_same(states[2], states[4])
        assert all(torch.isfinite(tensor).all() for tensor in states[-1].values())

    def test_two_bad_losses_in_a_step_are_one_step(self, tmp_path):
        runner, states, error = train(tmp_path, Spoil(1, 2), skip=1, **self.changes)
        assert error is None
        assert runner.message_hub.get_info('skipped_steps') == 1
        assert is_same(states[0], states[2])

    def test_stops_in_the_iteration_that_is_bad(self, tmp_path):
        _, _, error = train(tmp_path, Spoil(3), **self.changes)
        assert error.faults[0].where == 'iteration 3'


def test_steps_that_the_loss_scaler_leaves_out_do_not_count(tmp_path):
    class Overflow(Hook):
        """Gradients of one iteration are infinite, its losses are not."""

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            weight = runner.model.student.fc.weight
            self.handle = weight.register_hook(lambda gradient: gradient * (float('inf') if runner.iter == 1 else 1))

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.handle.remove()

    optimizer = dict(type='SGD', lr=0.05, momentum=0.9)
    wrapper = dict(type='kd_plugins.CPUAmpOptimWrapper', dtype='float16', optimizer=optimizer)
    runner, states, error = train(
        tmp_path, Overflow(), optim_wrapper=wrapper | {'optimizer': dict(type='SGD', lr=0.05, momentum=0.9)}
    )

    assert error is None
    assert runner.message_hub.get_info('skipped_steps') == 0
    assert [float(state['scale']) for state in states] == [65536, 65536, 32768, 32768, 32768]


def test_a_model_that_is_no_distillation(tmp_path):
    changes = dict(model=dict(type='ToyClassifier'))
    _, states, error = train(tmp_path / 'stop', Spoil(2), **changes)
    assert error.faults[0].got.startswith('loss nan; first not finite: the inputs')
    assert moved(states) == [True]

    _, states, error = train(tmp_path / 'skip', Spoil(2), skip=1, **changes)
    assert error is None
    assert moved(states) == [True, False, True, True]


def test_losses_of_a_recorder_of_gradients_are_named_as_in_the_log(tmp_path):
    distiller = logits_only()
    for side in ('student', 'teacher'):
        distiller[f'{side}_recorders']['grads'] = dict(type='ModuleOutputGrads', source='fc')
    distiller['distill_losses']['loss_grads'] = dict(type='L2Loss')
    distiller['loss_forward_mappings']['loss_grads'] = dict(
        s_feature=dict(recorder='grads', from_student=True), t_feature=dict(recorder='grads', from_student=False)
    )
    model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(distiller=distiller))

    _, _, error = train(tmp_path, Spoil(1), model=model)

    assert error.faults[0].got.startswith('student.loss nan, distill.loss_grads nan, distill.loss_logits nan; first')


@MODELS.register_module()
class SpoiledGenerator(torch.nn.Module):
    """Imagines images that are NaN in one of its calls, counted from 1."""

    latent_dim = 5

    def __init__(self, bad):
        super().__init__()
        self.linear = torch.nn.Linear(5, 3 * 8 * 8)
        self.norm = torch.nn.BatchNorm1d(3 * 8 * 8)
        self.bad = bad
        self.calls = 0

    def forward(self, noise, batch_size):
        self.calls += 1
        noise = noise * NAN if self.calls == self.bad else noise
        return self.norm(self.linear(noise)).view(batch_size, 3, 8, 8)


def data_free(bad):
    logits = dict(
        student_recorders=dict(fc=dict(type='ModuleOutputs', source='fc')),
        teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='t.fc')),
        distill_losses=dict(loss_kl=dict(type='KLDivergence', teacher_detach=False)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(recorder='fc', from_student=True), preds_T=dict(recorder='fc', from_student=False)
            )
        ),
    )
    distiller = dict(type='ConfigurableDistiller', **logits)
    optimizer = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
    return dict(
        model=dict(
            type='kd_plugins.DataFreeDistillation',
            architecture=dict(type='ToyClassifier'),
            teachers=dict(t=dict(build_cfg=dict(type='ToyClassifier', channels=6))),
            generator=dict(type='SpoiledGenerator', bad=bad),
            distiller=distiller,
            generator_distiller=distiller,
        ),
        optim_wrapper=dict(
            constructor='kd_plugins.SeparateOptimWrapperConstructor', architecture=optimizer, generator=optimizer
        ),
    )


# two calls of the generator in an iteration: the first for itself, the second for the student
@pytest.mark.parametrize(('bad', 'prefix', 'other'), [(3, 'generator', 'architecture'), (4, 'distill', 'generator')])
def test_data_free_distillation(tmp_path, monkeypatch, bad, prefix, other):
    # of two optimisers
    monkeypatch.setattr(States, 'state', lambda self, runner: snapshot(runner.model))
    _, states, error = train(tmp_path / 'skip', skip=1, **data_free(bad))

    assert error is None
    weights = [name for name in states[1] if 'running' not in name and 'tracked' not in name]
    changed = {name.split('.')[0] for name in weights if not torch.equal(states[1][name], states[2][name])}
    assert changed == {other}
    assert all(torch.isfinite(tensor).all() for tensor in states[-1].values())

    _, states, error = train(tmp_path / 'stop', **data_free(bad))
    assert error.faults[0].where == 'iteration 2'
    assert error.faults[0].got.startswith(f'{prefix}.loss_kl nan; ')


def test_a_good_step_waits_for_nothing(tmp_path):
    runner = Runner.from_cfg(Config(runner_config(tmp_path)))
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    batch = next(iter(runner.train_dataloader))
    hook = FiniteLossHook(skip=1)
    hook.before_train(runner)
    runner.model.train()

    def step():
        hook.before_train_iter(runner, 0, batch)
        runner.model.train_step(batch, runner.optim_wrapper)
        hook.after_train_iter(runner, 0, batch)

    step()
    assert waits(step) == []


@pytest.mark.parametrize('skip', [-1, 1.5, True, '3', None])
def test_bad_input(skip):
    with pytest.raises(UserError, match='skip: expected a whole number from 0 on'):
        FiniteLossHook(skip=skip)
