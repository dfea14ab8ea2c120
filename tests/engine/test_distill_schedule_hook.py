"""Distillation in stages, on the toy pair: what counts, what is trained, what stays still."""

import copy
import os
import socket

import pytest
import torch
import torch.distributed
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from mmengine.runner import Runner
from processes import spawn
from toy import algorithm_config, is_same, make_runner, runner_config, snapshot, toy_batch

from kd_plugins.engine.distributed import prepare_distributed
from kd_plugins.errors import UserError

STEPS = 2  # in an epoch: 8 images in batches of 4
CONV1, CONV2 = 'architecture.conv1', 'architecture.conv2'
ADAMW = dict(optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.5))
MOMENTUM = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.1))
PLAIN = dict(type='ValLoop')
HINTS = dict(
    end=1,
    losses=dict(loss_logits=0, student=0),
    trained=[CONV1, 'architecture.bn', 'distiller.connectors'],
)
REST = dict(
    losses=dict(loss_feature=0, loss_logits=dict(start_factor=0.2, end_factor=1, over=2)),
    trained=[CONV2, 'architecture.fc'],
)


def schedule(*stages, **changes):
    return dict(type='kd_plugins.DistillScheduleHook', stages=copy.deepcopy([*stages]), **changes)


class Observer(Hook):
    """Keeps the weights before each step, the losses of each step, and how often the teacher ran by then."""

    priority = 'LOWEST'

    def __init__(self):
        self.weights, self.losses, self.teacher = [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.weights.append(snapshot(runner.model))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.item() for name, value in outputs.items()})
        calls = (getattr(module, 'calls', {}) for module in runner.model.teacher.modules())
        self.teacher.append(sum(sum(counter.values()) for counter in calls))


class PowerCut(Hook):
    """Ends the process, as it were, before a step."""

    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            raise KeyboardInterrupt


def prepare(work_dir, *stages, epochs=3, by_epoch=True, model=None, **changes):
    """A runner with the stages, whose student drops nothing, and what observes it."""
    hooks = [schedule(*stages, by_epoch=by_epoch)] if stages else []
    runner = make_runner(work_dir, model, epochs=epochs, custom_hooks=hooks, val_cfg=dict(PLAIN), **changes)
    runner.model.student.dropout.p = 0
    observer = Observer()
    runner.register_hook(observer)
    return runner, observer


def train(work_dir, *stages, **changes):
    runner, observer = prepare(work_dir, *stages, **changes)
    runner.train()
    observer.weights.append(snapshot(runner.model))
    return observer


def changed(before, after):
    """Names of the weights and buffers that are not equal to the bit."""
    return {name for name in before if not torch.equal(before[name], after[name])}


def names_in(state, *prefixes):
    return {name for name in state if name.startswith(prefixes)}


class TestWhatIsTrained:
    @pytest.mark.parametrize('optim_wrapper', [ADAMW, MOMENTUM], ids=['AdamW', 'SGD'])
    def test_the_rest_stays_to_the_bit(self, tmp_path, optim_wrapper):
        """Both ways: what was held learns later, and what has learnt, with momentum left, is held."""
        seen = train(tmp_path, HINTS, REST, optim_wrapper=copy.deepcopy(optim_wrapper)).weights

        first, then = changed(seen[0], seen[STEPS]), changed(seen[STEPS], seen[-1])
        hinted = names_in(seen[0], CONV1, 'architecture.bn', 'distiller.connectors')
        # conv_module.activate has nothing to learn; the bias of a convolution before a BatchNorm hardly has
        assert {name for name in hinted if name.endswith('conv.weight') or 'bn' in name} <= first <= hinted
        assert then == names_in(seen[0], CONV2, 'architecture.fc')

    @pytest.mark.parametrize('optim_wrapper', [ADAMW, MOMENTUM], ids=['AdamW', 'SGD'])
    def test_without_the_schedule_these_move(self, tmp_path, optim_wrapper):
        seen = train(tmp_path, epochs=1, optim_wrapper=copy.deepcopy(optim_wrapper)).weights
        assert changed(seen[0], seen[1]) >= names_in(seen[0], CONV1, CONV2, 'architecture.bn', 'architecture.fc')

    @pytest.mark.parametrize('by_epoch', [True, False])
    def test_statistics_move_again_in_a_stage_that_trains_them(self, tmp_path, by_epoch):
        """Also within an epoch, where the loop does not put the model in the mode of the training."""
        stages = [dict(end=1, trained=[CONV2]), dict()]
        seen = train(tmp_path, *stages, epochs=2, by_epoch=by_epoch).weights
        statistics, end = 'architecture.bn.running_mean', STEPS if by_epoch else 1
        assert torch.equal(seen[0][statistics], seen[end][statistics])
        assert not torch.equal(seen[end][statistics], seen[end + 1][statistics])

    def test_statistics_stay_after_a_validation_in_the_stage(self, tmp_path):
        loop = dict(by_epoch=False, max_iters=3, val_interval=1)
        stage = dict(trained=[CONV2])
        seen = train(tmp_path, stage, by_epoch=False, train_cfg=loop).weights
        assert len(seen) == 4
        assert changed(seen[0], seen[-1]) == names_in(seen[0], CONV2)

    def test_what_is_held_does_not_count_in_clipping(self, tmp_path):
        """The trained layer moves as it does where it alone has weights that learn."""
        clipped = dict(optimizer=dict(type='SGD', lr=1.0), clip_grad=dict(max_norm=0.01))
        stage = dict(trained=['architecture.fc'])
        runner, observer = prepare(tmp_path, stage, epochs=1, optim_wrapper=copy.deepcopy(clipped))
        runner.train()
        moves = [
            observer.weights[1][f'architecture.fc.{name}'] - observer.weights[0][f'architecture.fc.{name}']
            for name in ('weight', 'bias')
        ]
        # a gradient larger than the limit is cut to it: so long is the step of learning rate 1
        assert torch.cat([move.flatten() for move in moves]).norm().item() == pytest.approx(0.01, rel=1e-3)

    def test_after_the_training_nothing_is_left_on_model_and_optimiser(self, tmp_path):
        runner, _ = prepare(tmp_path, dict(trained=[CONV2]), epochs=1)
        runner.train()
        model = runner.model
        model.loss(**model.data_preprocessor(next(iter(runner.train_dataloader)), True))['student.loss'].backward()
        assert model.student.conv1.weight.grad.abs().sum() > 0
        assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks
        assert model.loss_factors == {}


class TestFactors:
    def first_losses(self, work_dir, *stages, **changes):
        """Losses of the first step, for weights that are the same in every call."""
        return train(work_dir, *stages, epochs=1, **changes).losses[0]

    def test_they_multiply_the_weighted_losses(self, tmp_path):
        plain = self.first_losses(tmp_path / 'plain')
        losses = dict(loss_feature=0.5, loss_logits=3, student=0.25)
        weighed = self.first_losses(tmp_path / 'weighed', dict(losses=losses))
        parts = {'distill.loss_feature': 0.5, 'distill.loss_logits': 3, 'student.loss': 0.25}
        assert plain['student.loss'] > 0
        assert {name: weighed[name] / plain[name] for name in parts} == pytest.approx(parts)
        assert weighed['loss'] == pytest.approx(sum(weighed[name] for name in parts))

    def test_those_of_several_teachers(self, tmp_path):
        def model(weight):
            teacher = dict(build_cfg=dict(type='ToyClassifier', channels=6), weight=weight)
            loss = dict(type='KLDivergence', tau=4, student='fc', teacher='one.fc')
            distiller = dict(type='kd_plugins.ConfigurableDistiller', distill_losses=dict(loss_one=loss, loss_two=loss))
            return dict(
                type='kd_plugins.MultiTeacherDistill',
                architecture=dict(type='ToyClassifier'),
                teachers=dict(one=teacher),
                distiller=distiller,
            )

        plain = self.first_losses(tmp_path / 'plain', model=model(2.0))
        stage = dict(losses=dict(loss_one=0.5, loss_two=0))
        weighed = self.first_losses(tmp_path / 'weighed', stage, model=model(2.0))
        assert weighed['distill.loss_one'] == pytest.approx(0.5 * plain['distill.loss_one'])
        assert weighed['distill.loss_two'] == 0

    def test_ramp_begins_with_its_stage(self, tmp_path):
        ramp = dict(start_factor=2, end_factor=3, over=2)
        factors = self.factors(tmp_path, dict(end=2), dict(losses=dict(loss_logits=ramp)), by_epoch=False)
        assert factors == pytest.approx([1, 1, 2, 2.5, 3, 3])

    def test_cosine_begins_gently(self, tmp_path):
        ramp = dict(start_factor=4, end_factor=0, over=4, curve='cosine')
        factors = self.factors(tmp_path, dict(losses=dict(loss_logits=ramp)), by_epoch=False)
        # 4 (1 + cos(pi / 4)) / 2 after a quarter of the way
        assert factors == pytest.approx([4, 3.414214, 2, 0.585786, 0, 0], rel=1e-5)

    def test_ramp_by_epoch_is_constant_within_an_epoch(self, tmp_path):
        ramp = dict(start_factor=0, end_factor=1, over=2)
        assert self.factors(tmp_path, dict(losses=dict(loss_logits=ramp))) == pytest.approx([0, 0, 0.5, 0.5, 1, 1])

    def factors(self, work_dir, *stages, **changes):
        """Of loss_logits in each step of three epochs, from the losses of a student that does not learn."""
        still = dict(optimizer=dict(type='SGD', lr=0.0))
        plain = train(work_dir / 'plain', optim_wrapper=copy.deepcopy(still)).losses
        weighed = train(work_dir / 'weighed', *stages, optim_wrapper=copy.deepcopy(still), **changes).losses
        name = 'distill.loss_logits'
        return [step[name] / base[name] for step, base in zip(weighed, plain, strict=True)]


class TestFactorZero:
    def test_the_teacher_rests_while_all_are_zero(self, tmp_path):
        alone = dict(loss_feature=0, loss_logits=0)
        stages = [dict(end=1, losses=alone), dict(end=2), dict(losses=alone)]
        observer = train(tmp_path, *stages)
        calls = observer.teacher
        assert calls[1] == 0
        assert 0 < calls[2] < calls[3] == calls[4] == calls[5]
        # they stay in the log
        assert [step['distill.loss_logits'] > 0 for step in observer.losses] == [False, False, True, True, False, False]
        assert all('distill.loss_stopped' not in step for step in observer.losses)

    def test_the_student_learns_as_it_does_alone(self, tmp_path):
        observer = train(tmp_path / 'stage', dict(losses=dict(loss_feature=0, loss_logits=0)))
        runner, alone = prepare(tmp_path / 'stopped')
        runner.model.distillation_stopped = True
        runner.train()
        assert [step['loss'] for step in observer.losses] == [step['loss'] for step in alone.losses]

    def test_the_loss_is_not_computed(self, tmp_path):
        runner, _ = prepare(tmp_path, dict(losses=dict(loss_feature=0)), epochs=1)
        called = []
        for name, module in runner.model.distiller.named_modules():
            module.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        runner.train()
        assert set(called) == {'distill_losses.loss_logits'}

    def test_the_students_own_loss_trains_nothing(self, tmp_path):
        """The hint is taken before the last layer, which only the student's own loss reaches."""
        seen = train(
            tmp_path, dict(losses=dict(loss_logits=0, student=0)), optim_wrapper=dict(optimizer=dict(type='SGD', lr=1))
        )
        assert not changed(seen.weights[0], seen.weights[-1]) & names_in(seen.weights[0], 'architecture.fc')
        assert changed(seen.weights[0], seen.weights[-1]) >= {f'{CONV2}.weight'}
        assert all(step['student.loss'] == step['distill.loss_logits'] == 0 for step in seen.losses)
        assert all(step['loss'] == step['distill.loss_feature'] > 0 for step in seen.losses)

    @pytest.mark.parametrize(
        ('factors', 'calculates'),
        [
            (dict(loss_feature=0, loss_logits=1, student=1), True),
            (dict(loss_feature=0, loss_logits=0, student=1), True),
            (dict(loss_feature=1, loss_logits=0, student=0), True),
            (dict(loss_feature=1, loss_logits=0), False),
        ],
        ids=str,
    )
    def test_every_parameter_keeps_a_gradient(self, factors, calculates):
        """Several processes wait for all of them."""
        config = algorithm_config(calculate_student_loss=calculates)
        algorithm = MODELS.build(dict(type='kd_plugins.SingleTeacherDistill', **config))
        algorithm.set_loss_factors(factors)
        algorithm.parse_losses(algorithm(**toy_batch(), mode='loss'))[0].backward()
        assert [name for name, weight in algorithm.named_parameters() if weight.grad is None] == []


@pytest.mark.slow
@pytest.mark.parametrize('step', [1, 2, 4], ids=['in a stage', 'at its end', 'in a ramp'])
def test_resume_continues_identically(tmp_path, step):
    loop = dict(by_epoch=False, max_iters=6, val_interval=6)
    # by iterations, in order: a resumed loader begins at the step that it stopped at
    changes = dict(
        by_epoch=False,
        train_cfg=loop,
        optim_wrapper=ADAMW,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=step)),
    )
    stages = [
        dict(HINTS, end=2),
        dict(losses=dict(loss_feature=0, loss_logits=dict(start_factor=0, end_factor=1, over=4)), trained=[CONV2]),
    ]
    whole = train(tmp_path / 'whole', *stages, **copy.deepcopy(changes))
    interrupted, _ = prepare(tmp_path / 'parts', *stages, **copy.deepcopy(changes))
    interrupted.register_hook(PowerCut(step))
    with pytest.raises(KeyboardInterrupt):
        interrupted.train()
    resumed = train(tmp_path / 'parts', *stages, resume=True, **copy.deepcopy(changes))
    assert resumed.losses == whole.losses[step:]
    assert is_same(resumed.weights[-1], whole.weights[-1])


class TestRefused:
    def refused(self, work_dir, *stages, **changes):
        with pytest.raises(UserError) as caught:
            train(work_dir, *stages, **changes)
        return {fault.where: fault for fault in caught.value.faults}

    def test_names_that_are_not_there(self, tmp_path):
        stages = [
            dict(end=1, losses=dict(loss_logit=1.0), trained=['architecture.conv', 'architecture.relu']),
            dict(losses=dict(students=0)),
        ]
        faults = self.refused(tmp_path, *stages)
        assert set(faults) == {
            'custom_hooks.0.stages.0.losses.loss_logit',
            'custom_hooks.0.stages.0.trained.0',
            'custom_hooks.0.stages.0.trained.1',
            'custom_hooks.0.stages.1.losses.students',
        }
        assert "'loss_logits'" in faults['custom_hooks.0.stages.0.losses.loss_logit'].advice
        assert "'architecture.conv1'" in faults['custom_hooks.0.stages.0.trained.0'].advice
        assert "'student'" in faults['custom_hooks.0.stages.1.losses.students'].advice

    @pytest.mark.parametrize(
        ('stages', 'where', 'expected'),
        [
            ([], 'stages', 'a list of stages'),
            ([3], 'stages.0', 'a dict'),
            ([dict(), dict()], 'stages.0.end', 'a whole number above 0'),
            ([dict(end=2), dict(end=2), dict()], 'stages.1.end', 'a whole number above 2'),
            ([dict(end=True), dict()], 'stages.0.end', 'a whole number above 0'),
            ([dict(end=2)], 'stages.0.end', 'none: the last stage lasts'),
            ([dict(until=2)], 'stages.0.until', 'one of end, losses, trained'),
            ([dict(losses=0.5)], 'stages.0.losses', 'factors by name'),
            ([dict(losses=dict(loss_kl=-0.5))], 'stages.0.losses.loss_kl', 'a finite number from 0 on'),
            ([dict(losses=dict(loss_kl='1'))], 'stages.0.losses.loss_kl', 'a finite number from 0 on'),
            ([dict(losses=dict(loss_kl=float('nan')))], 'stages.0.losses.loss_kl', 'a finite number from 0 on'),
            ([dict(losses=dict(loss_kl=dict(start_factor=0, end_factor=1)))], 'stages.0.losses.loss_kl.over', 'what a'),
            ([dict(trained=[])], 'stages.0.trained', 'a list of paths'),
            ([dict(trained='architecture')], 'stages.0.trained', 'a list of paths'),
        ],
        ids=str,
    )
    def test_what_is_no_stage(self, tmp_path, stages, where, expected):
        with pytest.raises(UserError) as caught:
            make_runner(tmp_path, custom_hooks=[dict(type='kd_plugins.DistillScheduleHook', stages=stages)])
        (fault,) = caught.value.faults
        assert fault.where == where
        assert fault.expected.startswith(expected)

    @pytest.mark.parametrize(
        ('changes', 'key'),
        [
            (dict(start_factor=-1), 'start_factor'),
            (dict(end_factor=float('inf')), 'end_factor'),
            (dict(over=0), 'over'),
            (dict(over=1.5), 'over'),
            (dict(over=4), 'over'),
            (dict(curve='step'), 'curve'),
            (dict(begin=0), 'begin'),
        ],
        ids=str,
    )
    def test_what_is_no_ramp(self, tmp_path, changes, key):
        ramp = dict(start_factor=0, end_factor=1, over=3) | changes
        stages = [dict(end=3, losses=dict(loss_kl=ramp)), dict()]
        with pytest.raises(UserError) as caught:
            make_runner(tmp_path, custom_hooks=[dict(type='kd_plugins.DistillScheduleHook', stages=stages)])
        assert [fault.where for fault in caught.value.faults] == [f'stages.0.losses.loss_kl.{key}']

    def test_stage_that_never_begins(self, tmp_path):
        faults = self.refused(tmp_path, dict(end=3), dict(), epochs=3)
        assert faults['custom_hooks.0.stages.0.end'].expected == 'less than max_epochs, 3'

    def test_stage_without_a_loss(self, tmp_path):
        faults = self.refused(tmp_path, dict(losses=dict(loss_feature=0, loss_logits=0, student=0)))
        assert list(faults) == ['custom_hooks.0.stages.0.losses']

    def test_loss_of_the_student_that_is_not_computed(self, tmp_path):
        model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(calculate_student_loss=False))
        faults = self.refused(tmp_path, dict(losses=dict(student=0.5)), model=model)
        assert 'calculate_student_loss' in faults['custom_hooks.0.stages.0.losses.student'].advice

    def test_epochs_of_a_training_by_iterations(self, tmp_path):
        loop = dict(by_epoch=False, max_iters=4, val_interval=4)
        faults = self.refused(tmp_path, dict(), train_cfg=loop)
        assert 'by_epoch=False' in faults['custom_hooks.0.by_epoch'].advice

    def test_model_without_distillation(self, tmp_path):
        hooks = [dict(type='SyncBuffersHook'), schedule(dict())]
        runner = make_runner(tmp_path, dict(type='ToyClassifier'), custom_hooks=hooks, val_cfg=dict(PLAIN))
        with pytest.raises(UserError, match=r'custom_hooks\.1: expected a distillation .*got a ToyClassifier'):
            runner.train()

    @pytest.mark.parametrize('other', [schedule(dict()), dict(type='kd_plugins.StopDistillHook', stop_epoch=1)])
    def test_second_hook(self, tmp_path, other):
        runner = make_runner(tmp_path, custom_hooks=[schedule(dict()), copy.deepcopy(other)], val_cfg=dict(PLAIN))
        with pytest.raises(UserError, match=r'custom_hooks\.0: expected one hook'):
            runner.train()


def train_process(rank, processes, port, folder):
    """A process of a distillation through its stages; writes its weights after each."""
    if processes > 1:
        addresses = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, RANK=rank, WORLD_SIZE=processes, LOCAL_RANK=rank)
        os.environ.update({name: str(value) for name, value in addresses.items()}, LOCAL_WORLD_SIZE=str(processes))
    config = Config(staged_config(folder, processes))
    if processes > 1:
        prepare_distributed(config)
    runner = Runner.from_cfg(config)
    model = runner.model.module if processes > 1 else runner.model
    model.student.dropout.p = 0
    seen = [snapshot(model)]
    runner.register_hook(KeepWeights(seen))
    runner.train()
    torch.save(seen, f'{folder}/{processes}_{rank}.pth')
    if processes > 1:
        del runner, model
        torch.distributed.destroy_process_group()


class KeepWeights(Hook):
    def __init__(self, seen):
        self.seen = seen

    def after_train_epoch(self, runner):
        model = runner.model.module if hasattr(runner.model, 'module') else runner.model
        self.seen.append(snapshot(model))


def staged_config(folder, processes):
    """Two images of each batch of four for each of two processes: the mean of their gradients is that of one process.

    BatchNorm, whose statistics would be those of two images, is held throughout.
    """
    still_bn = [CONV1, CONV2, 'architecture.fc', 'distiller.connectors.widen.conv_module.conv']
    config = runner_config(
        folder,
        epochs=4,
        launcher='pytorch' if processes > 1 else 'none',
        env_cfg=dict(dist_cfg=dict(backend='gloo', timeout=60)),
        optim_wrapper=copy.deepcopy(MOMENTUM),
        val_cfg=dict(PLAIN),
        custom_hooks=[
            schedule(
                dict(end=1, trained=still_bn),
                dict(end=2, losses=dict(loss_logits=0, student=0), trained=[CONV1, still_bn[-1]]),
                dict(end=3, losses=dict(loss_logits=0, loss_feature=0), trained=[CONV2, 'architecture.fc']),
                dict(trained=still_bn),
            )
        ],
    )
    config['train_dataloader']['batch_size'] = 4 // processes
    return config


@pytest.mark.slow
def test_two_processes_go_through_the_stages_as_one_does(tmp_path):
    """Without find_unused_parameters: each parameter has a gradient in each step, or DDP would stop the training."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
    spawn(train_process, (2, port, str(tmp_path)), 2)
    train_process(0, 1, port, str(tmp_path))
    alone, first, second = (torch.load(tmp_path / f'{name}.pth') for name in ('1_0', '2_0', '2_1'))
    assert len(alone) == len(first) == len(second) == 5
    for one, two, other in zip(alone, first, second, strict=True):
        assert is_same(two, other)
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
    hinted = changed(first[1], first[2])
    assert hinted
    assert hinted <= names_in(first[0], CONV1, 'distiller.connectors')
    assert changed(first[2], first[3]) == names_in(first[0], CONV2, 'architecture.fc')
