import pytest
import torch
from toy import ToyClassifier, make_runner, toy_batch

from kd_plugins.algorithms import SelfDistill
from kd_plugins.errors import UserError, drafting

# the first relu learns from the last, which has as many channels
FEATURES = dict(
    student_recorders=dict(feature=dict(type='ModuleOutputs', source='relu')),
    teacher_recorders=dict(feature=dict(type='ModuleOutputs', source='relu')),
    distill_losses=dict(loss_feature=dict(type='L2Loss', normalize=False)),
    loss_forward_mappings=dict(
        loss_feature=dict(
            s_feature=dict(recorder='feature', from_student=True, record_idx=0),
            t_feature=dict(recorder='feature', from_student=False, record_idx=1),
        )
    ),
)


def make(kind='BYOTDistiller', **changes):
    return SelfDistill(architecture=dict(type='ToyClassifier'), distiller=dict(type=kind, **FEATURES), **changes)


def features(model, images):
    first = model.relu(model.bn(model.conv1(images)))
    return first, model.relu(model.conv2(first))


def test_losses():
    algorithm = make().eval()
    batch = toy_batch()
    losses = algorithm(**batch, mode='loss')
    first, last = features(algorithm.student, batch['inputs'])
    assert list(losses) == ['student.loss', 'distill.loss_feature']
    # L2Loss without normalisation: the squared distance, summed over all but the batch
    torch.testing.assert_close(losses['distill.loss_feature'], (first - last).square().sum() / len(first))


@pytest.mark.parametrize(('kind', 'reaches'), [('BYOTDistiller', False), ('ConfigurableDistiller', True)])
def test_gradient_of_what_stands_for_the_teacher(kind, reaches):
    algorithm = make(kind).eval()
    algorithm(**toy_batch(), mode='loss')['distill.loss_feature'].backward()
    # conv2 is between the two records: only the teacher's record depends on it
    assert (algorithm.student.conv2.weight.grad is not None) == reaches
    assert algorithm.student.conv1.weight.grad is not None


def test_the_student_runs_once():
    algorithm = make()
    algorithm(**toy_batch(), mode='loss')
    # and once before all, to choose its memory layout
    assert algorithm.student.calls == {'tensor': 1, 'loss': 1}


def test_without_the_students_own_loss():
    assert list(make(calculate_student_loss=False)(**toy_batch(), mode='loss')) == ['distill.loss_feature']


def test_it_has_no_teacher():
    algorithm = make()
    assert algorithm.teacher_models() == {}
    assert not hasattr(algorithm, 'teacher')


def test_it_trains(tmp_path):
    model = dict(type='kd_plugins.SelfDistill', architecture=dict(type='ToyClassifier'))
    model['distiller'] = dict(type='kd_plugins.BYOTDistiller', **FEATURES)
    runner = make_runner(tmp_path, model=model, val_cfg=dict(type='ValLoop'))
    before = [weight.clone() for weight in runner.model.student.parameters()]
    runner.train()
    assert any(not torch.equal(*pair) for pair in zip(before, runner.model.student.parameters(), strict=True))


def test_sources_of_both_sides_are_looked_for_in_the_student():
    distiller = {**FEATURES, 'teacher_recorders': dict(feature=dict(type='ModuleOutputs', source='rleu'))}
    with pytest.raises(UserError, match=r"distiller.teacher_recorders.feature.source: .*'rleu'.*relu"):
        SelfDistill(architecture=dict(type='ToyClassifier'), distiller=dict(type='BYOTDistiller', **distiller))


def test_a_model_object_is_a_student():
    student = ToyClassifier()
    assert SelfDistill(architecture=student, distiller=dict(type='BYOTDistiller', **FEATURES)).student is student


def test_a_draft_keeps_all_faults():
    with drafting():
        algorithm = SelfDistill(architecture=dict(type='Nothing'), distiller=dict(type='BYOTDistiler', **FEATURES))
    assert [fault.where for fault in algorithm.faults] == ['architecture.type', 'distiller.type']
