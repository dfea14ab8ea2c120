import pytest
import torch
from mmengine.registry import MODELS
from toy import ToyClassifier, algorithm_config, toy_batch

from kd_plugins.algorithms import FpnTeacherDistill
from kd_plugins.errors import UserError


@MODELS.register_module()
class ToyWithNeck(ToyClassifier):
    """A classifier that gives its feature map before its head, as detectors do."""

    def extract_feat(self, inputs):
        self.calls['extract_feat'] += 1
        return self.relu(self.conv2(self.relu(self.bn(self.conv1(inputs)))))


def make(**changes):
    config = algorithm_config(teacher=dict(type='ToyWithNeck', channels=6), **changes)
    for side in ('student_recorders', 'teacher_recorders', 'distill_losses', 'loss_forward_mappings'):
        for name in ('logits', 'loss_logits'):
            config['distiller'][side].pop(name, None)
    return FpnTeacherDistill(**config)


def test_the_teachers_head_does_not_run():
    algorithm = make()
    losses = algorithm(**toy_batch(), mode='loss')
    assert list(losses) == ['student.loss', 'distill.loss_feature']
    # the first step looks at two images before
    assert algorithm.teacher.calls == {'extract_feat': 2}


@pytest.mark.parametrize('trainable', [False, True])
def test_a_weight_of_a_teacher_whose_head_does_not_run(trainable):
    weight = dict(type='Parameter', source='fc.weight')
    loss = dict(type='L2Loss', student=weight, teacher=weight)
    config = algorithm_config(
        teacher=dict(type='ToyWithNeck', channels=4),
        distiller=dict(type='ConfigurableDistiller', distill_losses=dict(loss=loss)),
        teacher_trainable=trainable,
    )
    algorithm = FpnTeacherDistill(**config)
    for _ in range(2):
        losses = algorithm(**toy_batch(), mode='loss')
        expected = algorithm.distiller.distill_losses['loss'](algorithm.student.fc.weight, algorithm.teacher.fc.weight)
        assert torch.equal(losses['distill.loss'], expected)


def test_same_losses_as_with_the_whole_teacher():
    torch.manual_seed(0)
    algorithm = make().eval()
    losses = algorithm(**toy_batch(), mode='loss')
    whole = super(FpnTeacherDistill, algorithm)
    whole.run_teacher(**toy_batch())
    algorithm.run_student(**toy_batch())
    assert torch.equal(algorithm.compare()['loss_feature'], losses['distill.loss_feature'])


@pytest.mark.parametrize('trainable', [False, True])
def test_gradient_reaches_a_trainable_teacher_alone(trainable):
    algorithm = make(teacher_trainable=trainable)
    algorithm(**toy_batch(), mode='loss')['distill.loss_feature'].backward()
    assert (algorithm.teacher.conv1.weight.grad is not None) == trainable
    assert algorithm.teacher.fc.weight.grad is None


def test_a_teacher_that_cannot_stop_at_its_neck():
    with pytest.raises(UserError, match=r'teacher: expected a model with extract_feat, got a ToyClassifier'):
        FpnTeacherDistill(**algorithm_config())
