"""Real runs of mmengine's Runner on the toy pair."""

import copy

import pytest
import torch
from mmengine.hooks import Hook
from toy import algorithm_config, count_hooks, is_same, make_runner, snapshot

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.engine import StopDistillHook
from kd_plugins.errors import UserError

EMA = dict(type='EMAHook', momentum=0.1, update_buffers=True)
ONE_CYCLE = dict(type='OneCycleLR', eta_max=0.1, total_steps=4, by_epoch=False)
COSINE = dict(type='CosineAnnealingLR', T_max=4, by_epoch=False)


class Observer(Hook):
    """Counts the calls of both models by epoch and keeps the metrics of each validation."""

    priority = 'LOWEST'

    def __init__(self):
        self.calls = []
        self.metrics = []

    def before_train_epoch(self, runner):
        for model in (runner.model.student, runner.model.teacher):
            model.calls.clear()

    def after_train_epoch(self, runner):
        self.calls.append((dict(runner.model.student.calls), dict(runner.model.teacher.calls)))

    def after_val_epoch(self, runner, metrics=None):
        self.metrics.append(dict(metrics))


class PowerCut(Hook):
    """Ends the process, as it were, before an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def observed(runner):
    observer = Observer()
    runner.register_hook(observer)
    return observer


def watch_modes(teacher):
    """Fail as soon as a module of the teacher runs in training mode; returns the list of modules that ran."""
    ran = []

    def check(module, *_):
        ran.append(module)
        assert not module.training

    handles = [module.register_forward_hook(check) for module in teacher.modules()]
    return ran, handles


def test_an_epoch_trains_the_student_and_leaves_the_teacher_alone(tmp_path):
    runner = make_runner(tmp_path)
    algorithm = runner.model
    teacher, student = snapshot(algorithm.teacher), snapshot(algorithm)
    ran, handles = watch_modes(algorithm.teacher)
    runner.train()
    for handle in handles:
        handle.remove()
    assert ran
    assert is_same(teacher, snapshot(algorithm.teacher))
    after = snapshot(algorithm)
    assert all(not torch.equal(student[name], after[name]) for name in student if name.endswith('weight'))
    algorithm.distiller.detach()
    assert count_hooks(algorithm) == count_hooks(algorithm.teacher) == 0
    logged = runner.message_hub.log_scalars
    for name in ('student.loss', 'distill.loss_feature', 'distill.loss_logits', 'loss'):
        assert f'train/{name}' in logged


def test_the_optimizer_knows_no_teacher(tmp_path):
    runner = make_runner(tmp_path)
    runner.train()
    teachers = {id(parameter) for parameter in runner.model.teacher.parameters()}
    groups = runner.optim_wrapper.optimizer.param_groups
    assert not teachers & {id(parameter) for group in groups for parameter in group['params']}


def test_a_checkpoint_holds_no_teacher(tmp_path):
    runner = make_runner(tmp_path, custom_hooks=[EMA])
    runner.train()
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert {name.split('.')[0] for name in checkpoint['state_dict']} == {'architecture', 'distiller'}
    assert not [name for name in checkpoint['ema_state_dict'] if 'teacher' in name]
    shapes = {tuple(value.shape) for value in runner.model.teacher.state_dict().values()}
    own = {tuple(value.shape) for value in runner.model.state_dict().values()}
    stored = []

    def collect(node):
        if isinstance(node, torch.Tensor):
            stored.append(tuple(node.shape))
        elif isinstance(node, dict):
            list(map(collect, node.values()))
        elif isinstance(node, (list, tuple)):
            list(map(collect, node))

    collect(checkpoint)
    assert stored
    assert not set(stored) & (shapes - own)


@pytest.mark.parametrize('scheduler', [COSINE, ONE_CYCLE], ids=lambda config: config['type'])
@pytest.mark.parametrize('hooks', [[], [EMA]], ids=['plain', 'ema'])
def test_resume_continues_as_if_nothing_had_happened(tmp_path, scheduler, hooks):
    def prepare(folder, **changes):
        # the teacher is not in the checkpoint: its config and the seed give it again
        schedule = [copy.deepcopy(scheduler)]
        runner = make_runner(folder, epochs=2, param_scheduler=schedule, custom_hooks=copy.deepcopy(hooks), **changes)
        runner.model.student.dropout.p = 0  # its random numbers are the one thing that a resumed run draws anew
        return runner, observed(runner)

    whole, whole_observer = prepare(tmp_path / 'whole')
    whole.train()
    interrupted, _ = prepare(tmp_path / 'parts')
    interrupted.register_hook(PowerCut(epoch=1))
    with pytest.raises(KeyboardInterrupt):
        interrupted.train()
    resumed, observer = prepare(tmp_path / 'parts', resume=True)
    resumed.train()
    assert resumed.epoch == 2
    assert len(observer.calls) == 1
    assert is_same(snapshot(whole.model), snapshot(resumed.model))
    assert observer.metrics[-1] == whole_observer.metrics[-1]
    assert 'teacher.accuracy' in observer.metrics[-1]


def test_ema_is_what_is_validated_and_saved(tmp_path):
    runner = make_runner(tmp_path, custom_hooks=[EMA])
    runner.train()
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    trained, averaged = checkpoint['ema_state_dict'], checkpoint['state_dict']
    name = 'architecture.fc.weight'
    assert not torch.equal(trained[f'module.{name}'], averaged[name])
    # mmengine swaps both in the checkpoint, so that the average is what is loaded for inference
    assert torch.equal(trained[f'module.{name}'], runner.model.state_dict()[name])


class TestValLoop:
    def test_teacher_once_a_run_student_each_time(self, tmp_path):
        runner = make_runner(tmp_path, epochs=3)
        observer = observed(runner)
        predictions = []
        for name, model in (('student', runner.model.student), ('teacher', runner.model.teacher)):
            model.register_forward_pre_hook(
                lambda *args, name=name: predictions.append(name) if args[-1].get('mode') == 'predict' else None,
                with_kwargs=True,
            )
        runner.train()
        # 8 images in batches of 4, three validations
        assert predictions == ['student', 'student', 'teacher', 'teacher'] + ['student', 'student'] * 2
        assert len(observer.metrics) == 3
        assert all(set(metrics) == {'accuracy', 'teacher.accuracy'} for metrics in observer.metrics)
        assert len({metrics['teacher.accuracy'] for metrics in observer.metrics}) == 1

    def test_the_teachers_metrics_are_the_teachers(self, tmp_path):
        runner = make_runner(tmp_path)
        for model, winner in ((runner.model.student, 0), (runner.model.teacher, 1)):
            model.fc.weight.data.zero_()
            model.fc.bias.data.copy_(torch.eye(3)[winner])
        # labels 0 1 2 0 1 2 0 1
        assert runner.val() == {'accuracy': 3 / 8, 'teacher.accuracy': 3 / 8}
        runner.model.teacher.fc.bias.data.copy_(torch.eye(3)[2])
        assert runner.val()['teacher.accuracy'] == 3 / 8  # a frozen teacher is not looked at again
        other = make_runner(tmp_path / 'other')
        other.model.teacher.fc.weight.data.zero_()
        other.model.teacher.fc.bias.data.copy_(torch.eye(3)[2])
        assert other.val()['teacher.accuracy'] == 2 / 8

    def test_a_trainable_teacher_is_evaluated_each_time(self, tmp_path):
        model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(teacher_trainable=True))
        runner = make_runner(tmp_path, model, epochs=2)
        runner.train()
        assert runner.model.teacher.calls['predict'] == 4

    def test_both_are_in_eval_mode(self, tmp_path):
        model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(teacher_trainable=True))
        runner = make_runner(tmp_path, model)
        runner.model.train()
        ran, _ = watch_modes(runner.model.teacher)
        runner.val()
        assert ran

    def test_a_model_without_a_teacher_is_refused(self, tmp_path):
        runner = make_runner(tmp_path, dict(type='ToyClassifier'))
        with pytest.raises(UserError, match=r"val_cfg\.type: .*ToyClassifier, which has no teacher; .*'ValLoop'"):
            runner.val()

    def test_mmengines_own_loop_validates_the_student(self, tmp_path):
        runner = make_runner(tmp_path, val_cfg=dict(type='ValLoop'))
        assert set(runner.val()) == {'accuracy'}
        assert not runner.model.teacher.calls


class TestStopDistillHook:
    def test_the_teacher_rests_from_the_epoch_on(self, tmp_path):
        hook = dict(type='kd_plugins.StopDistillHook', stop_epoch=1)
        runner = make_runner(tmp_path, epochs=3, custom_hooks=[hook], val_cfg=dict(type='ValLoop'))
        observer = observed(runner)
        runner.train()
        # a look at the student and one at the teacher in each mode, then a forward of both for each of the two steps
        assert [student['loss'] for student, _ in observer.calls] == [3, 2, 2]
        assert [sum(teacher.values()) for _, teacher in observer.calls] == [4, 0, 0]

    def test_resumed_after_the_stop_it_stays_stopped(self, tmp_path):
        hooks = [dict(type='kd_plugins.StopDistillHook', stop_epoch=1)]
        make_runner(tmp_path, epochs=2, custom_hooks=copy.deepcopy(hooks)).train()
        runner = make_runner(tmp_path, epochs=3, custom_hooks=copy.deepcopy(hooks), resume=True)
        observer = observed(runner)
        runner.train()
        # the layout of the student is looked for in mode 'tensor'
        assert observer.calls == [({'tensor': 1, 'loss': 2}, {})]
        assert runner.model.distillation_stopped

    @pytest.mark.parametrize('epoch', [-1, 1.5, '3', None])
    def test_what_is_no_epoch_is_refused(self, epoch):
        with pytest.raises(UserError, match='stop_epoch: expected a whole number from 0 on'):
            StopDistillHook(epoch)


@pytest.mark.parametrize(
    'changes',
    [
        dict(teacher_trainable=True),
        dict(teacher_trainable=True, teacher_norm_eval=False),
        dict(student_trainable=False, calculate_student_loss=False),
        dict(calculate_student_loss=False),
    ],
    ids=str,
)
def test_every_kind_of_training_runs(tmp_path, changes):
    model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(**changes))
    runner = make_runner(tmp_path, model)
    student, teacher = snapshot(runner.model.student), snapshot(runner.model.teacher)
    runner.train()
    trained = {name: value for name, value in snapshot(runner.model.student).items() if name.endswith('weight')}
    still = all(torch.equal(student[name], value) for name, value in trained.items())
    assert still == (not changes.get('student_trainable', True))
    assert is_same(teacher, snapshot(runner.model.teacher)) == (not changes.get('teacher_trainable', False))


def test_a_model_object_trains(tmp_path):
    runner = make_runner(tmp_path)
    other = SingleTeacherDistill(**algorithm_config())
    runner.model = other
    teacher = snapshot(other.teacher)
    runner.train()
    assert is_same(teacher, snapshot(other.teacher))
