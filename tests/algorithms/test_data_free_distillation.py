import copy

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from torch import nn
from toy import toy_batch

from kd_plugins.algorithms import DAFLDataFreeDistillation, DataFreeDistillation
from kd_plugins.errors import UserError, drafting

LOGITS = dict(
    student_recorders=dict(fc=dict(type='ModuleOutputs', source='fc')),
    teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='t.fc')),
    loss_forward_mappings=dict(
        loss_kl=dict(preds_S=dict(recorder='fc', from_student=True), preds_T=dict(recorder='fc', from_student=False))
    ),
)
LEARN = dict(type='ConfigurableDistiller', distill_losses=dict(loss_kl=dict(type='KLDivergence')), **LOGITS)
# the generator looks for images on which the two disagree
MISLEAD = dict(
    type='ConfigurableDistiller',
    distill_losses=dict(loss_kl=dict(type='KLDivergence', loss_weight=-1, teacher_detach=False)),
    **LOGITS,
)


@MODELS.register_module()
class ToyGenerator(nn.Module):
    latent_dim = 5

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3 * 8 * 8)
        self.images = 0

    def forward(self, noise=None, batch_size=1):
        self.images += batch_size
        return self.linear(noise).view(batch_size, 3, 8, 8)


def config(**changes):
    return copy.deepcopy(
        {
            'architecture': dict(type='ToyClassifier'),
            'teachers': dict(t=dict(build_cfg=dict(type='ToyClassifier', channels=6))),
            'generator': dict(type='ToyGenerator'),
            'distiller': LEARN,
            'generator_distiller': MISLEAD,
            **changes,
        }
    )


def make(kind=DataFreeDistillation, **changes):
    torch.manual_seed(0)
    algorithm = kind(**config(**changes)).train()
    # the student of the tests is the same each time
    algorithm.student.dropout.p = 0.0
    return algorithm


def optimisers(algorithm, lr=0.1):
    parts = {name: torch.optim.SGD(getattr(algorithm, name).parameters(), lr) for name in ('architecture', 'generator')}
    return OptimWrapperDict(**{name: OptimWrapper(optimizer) for name, optimizer in parts.items()})


def weights(model):
    return [weight.detach().clone() for weight in model.parameters()]


def moved(before, model):
    return any(not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize('kind', [DataFreeDistillation, DAFLDataFreeDistillation])
class TestStep:
    def test_both_learn_and_the_teacher_does_not(self, kind):
        algorithm = make(kind)
        parts = (algorithm.student, algorithm.generator, algorithm.teacher)
        before = [weights(part) for part in parts]
        log = algorithm.train_step(toy_batch(4), optimisers(algorithm))
        assert set(log) == {'generator.loss_kl', 'generator.loss', 'distill.loss_kl', 'distill.loss'}
        assert [moved(*pair) for pair in zip(before, parts, strict=True)] == [True, True, False]
        assert not any(module.training for module in algorithm.teacher.modules())

    def test_the_generators_loss_does_not_move_the_student(self, kind):
        algorithm = make(kind)
        before = weights(algorithm.student)
        wrappers = optimisers(algorithm)
        # the student's own update is switched off, the generator's is not
        wrappers['architecture'].optimizer.param_groups[0]['lr'] = 0.0
        algorithm.train_step(toy_batch(4), wrappers)
        assert not moved(before, algorithm.student)

    def test_gradients_of_the_student_are_those_of_its_own_loss(self, kind):
        """In mmrazor the generator's backward leaves gradients in the student, which its next step takes along."""
        algorithm = make(kind, student_train_first=False)
        seen = []
        update = OptimWrapper.step

        def step(wrapper, **kwargs):
            if wrapper.optimizer.param_groups[0]['params'][0] is next(algorithm.student.parameters()):
                seen.append([weight.grad.clone() for weight in algorithm.student.parameters()])
            return update(wrapper, **kwargs)

        reference = make(kind)
        wrappers = optimisers(algorithm, lr=0.0)
        for wrapper in wrappers.values():
            wrapper.step = step.__get__(wrapper)
        torch.manual_seed(3)
        algorithm.train_step(toy_batch(4), wrappers)
        torch.manual_seed(3)
        if kind is DataFreeDistillation:
            reference._imagine(4)
        images = reference._imagine(4).detach()
        reference.parse_losses(reference._student_losses(images, toy_batch(4)['data_samples']))[0].backward()
        for ours, expected in zip(seen[0], reference.student.parameters(), strict=True):
            torch.testing.assert_close(ours, expected.grad)

    def test_its_losses_are_those_of_the_step(self, kind):
        algorithm = make(kind)
        losses = algorithm(**toy_batch(), mode='loss')
        assert set(losses) == {'generator.loss_kl', 'distill.loss_kl'}
        # the two losses differ in their sign alone
        torch.testing.assert_close(losses['generator.loss_kl'], -losses['distill.loss_kl'])


def test_the_student_takes_several_steps():
    algorithm = make(student_iter=3)
    algorithm.train_step(toy_batch(2), optimisers(algorithm))
    assert algorithm.student.calls['loss'] == 1 + 3
    assert algorithm.generator.images == 2 * (1 + 3)


@pytest.mark.parametrize(('first', 'order'), [(False, ['generator', 'distill']), (True, ['distill', 'generator'])])
def test_turns(first, order):
    algorithm = make(student_train_first=first)
    log = algorithm.train_step(toy_batch(2), optimisers(algorithm))
    assert [name.partition('.')[0] for name in log][::2] == order


def test_the_generator_is_not_run_through_a_student_that_nothing_records():
    generator_distiller = dict(
        type='ConfigurableDistiller',
        teacher_recorders=LOGITS['teacher_recorders'],
        distill_losses=dict(loss_kl=dict(type='KLDivergence', teacher_detach=False)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(recorder='fc', from_student=False), preds_T=dict(recorder='fc', from_student=False)
            )
        ),
    )
    algorithm = make(generator_distiller=generator_distiller)
    algorithm.train_step(toy_batch(2), optimisers(algorithm))
    assert algorithm.student.calls['loss'] == 1


def test_checkpoints_hold_student_and_generator():
    assert {name.partition('.')[0] for name in make().state_dict()} == {'architecture', 'generator'}


def test_one_optimiser_for_all_is_refused():
    algorithm = make()
    wrapper = OptimWrapper(torch.optim.SGD(algorithm.parameters(), 0.1))
    with pytest.raises(UserError, match=r"optim_wrapper: expected one each .*constructor='SeparateOptimWrapperConstr"):
        algorithm.train_step(toy_batch(), wrapper)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(student_iter=0), r'student_iter: expected a finite number above 0, got 0'),
        (dict(teachers={}), r'teachers: expected teachers by name, got none'),
        (dict(generator=dict(type='ToyClassifier')), r'generator: expected a generator with latent_dim'),
        (dict(generator=dict(type='ToyGenerater')), r"generator.type: .*'ToyGenerater'"),
        (dict(distiller=dict(LEARN, type='Distiller')), r"distiller.type: .*'Distiller'"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(UserError, match=message):
        make(**changes)


def test_a_weight_that_no_loss_uses_is_refused():
    teachers = dict(t=dict(config()['teachers']['t'], weight=2), u=dict(build_cfg=dict(type='ToyClassifier')))
    with pytest.raises(UserError) as caught:
        make(teachers=teachers)
    assert [fault.where for fault in caught.value.faults] == ['teachers.t.weight']
    averaged = copy.deepcopy(LEARN)
    averaged['teacher_recorders'] = dict(fc=dict(type='AveragedLogits', source='fc'))
    assert make(teachers=teachers, distiller=averaged).teacher.weights == dict(t=2.0, u=1.0)
    assert make(teachers=teachers, generator_distiller=dict(averaged)).teacher.weights == dict(t=2.0, u=1.0)


@pytest.mark.parametrize('where', ['distiller', 'generator_distiller'])
def test_deliveries_are_refused(where):
    draw = dict(type='FunctionOutputs', func_path='toy.toy_batch', max_keep_data=1)
    with pytest.raises(UserError) as caught:
        make(**{where: dict(LEARN, distill_deliveries=dict(draw=draw))})
    assert [fault.where for fault in caught.value.faults] == [f'{where}.distill_deliveries.draw']


def test_a_draft_keeps_all_faults():
    with drafting():
        algorithm = DataFreeDistillation(**config(generator=dict(type='Nothing'), teachers={}))
    assert [fault.where for fault in algorithm.faults] == ['teachers', 'generator.type']
