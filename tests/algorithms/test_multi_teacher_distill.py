import copy

import pytest
import torch
from toy import ToyClassifier, make_runner, toy_batch

from kd_plugins.algorithms import MultiTeacherDistill
from kd_plugins.errors import UserError
from kd_plugins.losses import KLDivergence

AVERAGED = dict(type='AveragedLogits', source='fc', tau=4)
PER_TEACHER = dict(
    loss_a=dict(type='KLDivergence', tau=4, student='fc', teacher='a.fc'),
    loss_b=dict(type='KLDivergence', tau=4, student='fc', teacher='b.fc'),
)
TOGETHER = dict(loss_kl=dict(type='KLDivergence', tau=4, student='fc', teacher=AVERAGED))


def config(losses, weights=(1.0, 1.0), **changes):
    teachers = {
        name: dict(build_cfg=dict(type='ToyClassifier', channels=channels), weight=weight)
        for (name, channels), weight in zip((('a', 5), ('b', 6)), weights, strict=True)
    }
    return copy.deepcopy(
        dict(
            architecture=dict(type='ToyClassifier'),
            teachers=teachers,
            distiller=dict(type='ConfigurableDistiller', distill_losses=losses),
            **changes,
        )
    )


def make(*args, **changes):
    torch.manual_seed(0)
    return MultiTeacherDistill(**config(*args, **changes))


def test_losses_per_teacher_carry_its_weight():
    algorithm = make(PER_TEACHER, weights=(0.5, 3.0)).eval()
    batch = toy_batch()
    losses = algorithm(**batch, mode='loss')
    student, loss = algorithm.student(batch['inputs']), KLDivergence(4)
    assert list(losses) == ['student.loss', 'distill.loss_a', 'distill.loss_b']
    for name, weight in (('a', 0.5), ('b', 3.0)):
        expected = weight * loss(student, algorithm.teacher.get_submodule(name)(batch['inputs']))
        torch.testing.assert_close(losses[f'distill.loss_{name}'], expected)


@pytest.mark.parametrize('weights', [(1.0, 1.0), (1.0, 3.0)])
def test_against_the_averaged_probabilities(weights):
    algorithm = make(TOGETHER, weights=weights).eval()
    batch = toy_batch()
    losses = algorithm(**batch, mode='loss')
    share = weights[0] / sum(weights)
    a, b = ((algorithm.teacher.get_submodule(name)(batch['inputs']) / 4).softmax(1) for name in 'ab')
    target = share * a + (1 - share) * b
    student = (algorithm.student(batch['inputs']) / 4).log_softmax(1)
    # Hinton's soft targets: tau squared times the divergence from the mean of the teachers' probabilities
    expected = 16 * (target * (target.log() - student)).sum() / len(target)
    torch.testing.assert_close(losses['distill.loss_kl'], expected)


def test_ten_teachers():
    teachers = {f't{index}': dict(build_cfg=ToyClassifier()) for index in range(10)}
    algorithm = MultiTeacherDistill(**{**config(TOGETHER), 'teachers': teachers}).eval()
    losses = algorithm(**toy_batch(), mode='loss')
    losses['distill.loss_kl'].backward()
    assert algorithm.student.fc.weight.grad.abs().sum() > 0
    # the first step looks at both modes before, and finds no difference
    assert [model.calls for model in algorithm.teacher_models().values()] == [{'loss': 1, 'tensor': 2}] * 10


def test_teachers_are_frozen_and_outside():
    algorithm = make(TOGETHER)
    before = {name: value.clone() for name, value in algorithm.teacher.state_dict().items()}
    algorithm.train()
    total, _ = algorithm.parse_losses(algorithm(**toy_batch(), mode='loss'))
    total.backward()
    assert not any(module.training for module in algorithm.teacher.modules())
    assert all(weight.grad is None for weight in algorithm.teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in algorithm.teacher.state_dict().items())
    assert {name.partition('.')[0] for name in algorithm.state_dict()} == {'architecture'}


def test_after_the_stop_no_teacher_runs():
    algorithm = make(TOGETHER)
    algorithm.distillation_stopped = True
    assert list(algorithm(**toy_batch(), mode='loss')) == ['student.loss']
    assert not algorithm.teacher.a.calls


def test_it_moves_with_the_algorithm():
    algorithm = make(TOGETHER).double()
    assert {weight.dtype for weight in algorithm.teacher.parameters()} == {torch.float64}


@pytest.mark.parametrize('losses', [PER_TEACHER, TOGETHER], ids=['per teacher', 'together'])
def test_it_trains(tmp_path, losses):
    model = dict(type='kd_plugins.MultiTeacherDistill', **config(losses))
    model['distiller']['type'] = 'kd_plugins.ConfigurableDistiller'
    runner = make_runner(tmp_path, model=model, val_cfg=dict(type='ValLoop'))
    before = [weight.clone() for weight in runner.model.student.parameters()]
    runner.train()
    assert any(not torch.equal(*pair) for pair in zip(before, runner.model.student.parameters(), strict=True))


@pytest.mark.parametrize(
    ('losses', 'message'),
    [
        (
            dict(loss_kl=dict(type='KLDivergence', tau=4, student='fc', teacher='fc')),
            r"distiller.distill_losses.loss_kl.teacher: .*'fc'.*a.fc",
        ),
        (
            dict(loss_kl=dict(type='KLDivergence', tau=2, student='fc', teacher=AVERAGED)),
            r'distiller.distill_losses.loss_kl.teacher.tau: expected the 2 of loss_kl, got 4; set tau=2',
        ),
    ],
)
def test_bad_input(losses, message):
    with pytest.raises(UserError, match=message):
        make(losses)


def test_teachers_that_are_missing():
    with pytest.raises(UserError, match=r'teachers: expected teachers by name'):
        MultiTeacherDistill(**{**config(TOGETHER), 'teachers': None})
