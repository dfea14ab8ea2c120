"""A distiller in a plain loop computes what SingleTeacherDistill does, and leaves two models as they were."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from nets import CLASSES, ResNet, batch, losses
from torch import nn
from torch.testing import assert_close
from toy import ToyClassifier, count_hooks, is_same, snapshot

from kd_plugins import Distiller
from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.connectors import LinearConnector

SOURCES = {
    'module outputs': losses(),
    'what a relu in place overwrites': dict(
        loss_bn=dict(type='L2Loss', student='layer1.0.bn1', teacher='layer1.0.bn1', connector='auto')
    ),
    'one of two calls': dict(
        loss_relu=dict(
            type='ATLoss',
            student=dict(source='layer1.0.relu', record_idx=1),
            teacher=dict(source='layer1.0.relu', record_idx=1),
        )
    ),
    'module inputs': dict(
        loss_in=dict(
            type='L1Loss',
            student=dict(type='ModuleInputs', source='fc', data_idx=0),
            teacher=dict(type='ModuleInputs', source='fc', data_idx=0),
            connector='auto',
        )
    ),
}

CONVOLUTION = dict(type='ConvModuleConnector', act_cfg=None)


class Task(BaseModel):
    """A plain model as a Runner wants it."""

    def __init__(self, net):
        super().__init__()
        for name, child in net.named_children():
            self.add_module(name, child)
        self.run = net.forward.__func__

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.run(self, inputs)
        return {'loss': F.cross_entropy(logits, data_samples)} if mode == 'loss' else logits


def spread(model):
    """A model whose BatchNorms have statistics of their own, so that folding them matters."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return model


def pair():
    return ResNet(4, dropout=0.5), spread(ResNet(6, dropout=0.5))


def step(distiller, student, images, labels):
    with distiller.record():
        task = F.cross_entropy(student(images), labels)
    found = distiller(images)
    (task + sum(found.values())).backward()
    return found


@pytest.mark.parametrize('name', SOURCES)
def test_losses_and_gradients_are_those_of_single_teacher_distill(name):
    (student, teacher), (images, labels) = pair(), batch()
    ours, theirs = copy.deepcopy(student), copy.deepcopy(teacher)
    distiller = Distiller(student, teacher, SOURCES[name], sample=images)
    explicit = {key: {**value, **written_out(distiller, key)} for key, value in SOURCES[name].items()}
    algorithm = SingleTeacherDistill(
        architecture=Task(ours),
        teacher=Task(theirs),
        distiller=dict(type='ConfigurableDistiller', distill_losses=explicit),
    )
    algorithm.distiller.load_state_dict(distiller.state_dict())

    torch.manual_seed(3)
    found = step(distiller, student, images, labels)
    torch.manual_seed(3)
    expected = algorithm(images, labels, mode='loss')
    sum(expected.values()).backward()

    assert {f'distill.{key}' for key in found} | {'student.loss'} == set(expected)
    for key, loss in found.items():
        assert_close(loss, expected[f'distill.{key}'])
    gradients = {key: weight.grad for key, weight in algorithm.architecture.named_parameters()}
    for key, weight in student.named_parameters():
        assert_close(weight.grad, gradients[key], msg=key)
    for one, other in zip(distiller.parameters(), algorithm.distiller.parameters(), strict=True):
        assert_close(one.grad, other.grad)


def written_out(distiller, loss):
    """What a loss needs in a config, for the connector that was worked out here."""
    for name, connector in distiller.connectors.items():
        if name.startswith(loss):
            channels = next(connector.parameters()).shape
            parts = dict(in_channel=channels[1], out_channel=channels[0])
            linear = isinstance(connector, LinearConnector)
            return dict(connector={**parts, **(dict(type=LinearConnector) if linear else CONVOLUTION)})
    return {}


def test_a_sample_leaves_no_trace():
    (student, teacher), (images, _) = pair(), batch()
    before = snapshot(student), snapshot(teacher), torch.get_rng_state()
    with Distiller(student, teacher, SOURCES['one of two calls'], sample=images):
        assert is_same(before[0], snapshot(student))
        assert is_same(before[1], snapshot(teacher))
        assert torch.equal(before[2], torch.get_rng_state())
        assert all(weight.grad is None for model in (student, teacher) for weight in model.parameters())
        assert student.training


def switches(model):
    return [
        *((module.training, getattr(module, 'inplace', None)) for module in model.modules()),
        *(weight.requires_grad for weight in model.parameters()),
    ]


@pytest.mark.parametrize('sample', [batch()[0], None], ids=['sample', 'no sample'])
def test_closed_it_leaves_both_models_as_they_were(sample):
    (student, teacher), (images, labels) = pair(), batch()
    student.layer1.eval().requires_grad_(False)
    teacher.conv1.requires_grad_(False)
    teacher.layer2.eval()
    before = switches(student), switches(teacher)
    config = losses() if sample is not None else SOURCES['one of two calls']
    with Distiller(student, teacher, config, sample=sample) as distiller:
        assert not any(module.training for module in teacher.modules())
        assert not any(weight.requires_grad for weight in teacher.parameters())
        step(distiller, student, images, labels)
    distiller.close()

    assert (switches(student), switches(teacher)) == before
    assert count_hooks(student) == count_hooks(teacher) == 0


def test_activations_of_the_student_keep_their_input_only_where_a_record_minds():
    (student, teacher), (images, _) = pair(), batch()
    with Distiller(student, teacher, losses(), sample=images):
        assert student.relu.inplace
    with Distiller(student, teacher, SOURCES['what a relu in place overwrites'], sample=images):
        assert not student.relu.inplace
    assert student.relu.inplace


def test_the_teacher_never_moves_and_is_not_optimised():
    (student, teacher), (images, labels) = pair(), batch()
    before = snapshot(teacher)
    distiller = Distiller(student, teacher, losses(), sample=images)
    learning = [*student.parameters(), *distiller.parameters()]
    optimizer = torch.optim.SGD(learning, lr=0.1)
    teacher.train()  # by a loop that trains everything it knows
    step(distiller, student, images, labels)
    optimizer.step()
    assert is_same(before, snapshot(teacher))
    assert not {id(weight) for weight in learning} & {id(weight) for weight in teacher.parameters()}
    assert all(weight.grad is not None for weight in learning)


def test_its_state_is_that_of_the_connectors():
    (student, teacher), (images, labels) = pair(), batch()
    distiller = Distiller(student, teacher, losses(), sample=images)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    step(distiller, student, images, labels)
    optimizer.step()
    state = snapshot(distiller)
    assert state
    assert all(name.startswith('connectors.') for name in state)
    assert len(list(distiller.parameters())) == len(state)
    distiller.close()

    resumed = Distiller(student, teacher, losses(), sample=images)
    assert not is_same(snapshot(resumed), state)
    resumed.load_state_dict(state)
    assert is_same(snapshot(resumed), state)


def test_what_runs_outside_of_record_leaves_nothing_behind():
    (student, teacher), (images, labels) = pair(), batch()
    distiller = Distiller(student, teacher, losses(), sample=images)
    step(distiller, student, images, labels)
    student.eval()
    with torch.no_grad():
        student(images)
        teacher(images)
    recorders = distiller._distiller
    parts = [*recorders.student_recorders.parts(), *recorders.teacher_recorders.parts()]
    assert [part.calls for part in parts] == [0] * 4
    student.train()
    step(distiller, student, images, labels)
    assert [part.calls for part in parts] == [0] * 4


def test_a_forward_that_fails_leaves_nothing_behind():
    (student, teacher), (images, _) = pair(), batch()
    distiller = Distiller(student, teacher, losses(), sample=images)
    with distiller.record():
        student(images)
    with pytest.raises(RuntimeError):
        distiller(images[:, :1])
    assert all(part.calls == 0 for part in distiller._distiller.student_recorders.parts())


def test_validation_of_the_distance_without_gradient():
    (student, teacher), (images, _) = pair(), batch()
    distiller = Distiller(student, teacher, losses(), sample=images)
    student.eval()
    with torch.no_grad():
        with distiller.record():
            student(images)
        found = distiller(images)
    assert not any(loss.requires_grad for loss in found.values())


def test_without_a_sample_a_connector_is_written_out():
    (student, teacher), (images, labels) = pair(), batch()
    connector = dict(type='ConvModuleConnector', in_channel=8, out_channel=12, act_cfg=None)
    config = losses()
    config['loss_s2']['connector'] = connector
    distiller = Distiller(student, teacher, config)
    step(distiller, student, images, labels)
    assert all(weight.grad is not None for weight in distiller.parameters())


def test_channels_are_completed_and_the_callers_dict_is_not_changed():
    (student, teacher), (images, labels) = pair(), batch()
    config = losses()
    config['loss_s2']['connector'] = dict(type='ConvModuleConnector', norm_cfg=dict(type='BN'))
    before = copy.deepcopy(config)
    distiller = Distiller(student, teacher, config, sample=images)
    assert config == before
    assert step(distiller, student, images, labels)['loss_s2'].dim() == 0


def test_a_loss_of_the_users_own_by_its_class():
    class Mean(nn.Module):
        def forward(self, preds_S, preds_T):  # noqa: N803
            return (preds_S - preds_T).abs().mean()

    (student, teacher), (images, _) = pair(), batch()
    distiller = Distiller(student, teacher, dict(loss_mean=dict(type=Mean, student='fc', teacher='fc')), sample=images)
    with distiller.record():
        logits = student(images)
    expected = (logits - teacher(images)).abs().mean()
    assert_close(distiller(images)['loss_mean'], expected)
    # nothing to learn in it
    assert list(distiller.parameters()) == []


def test_models_of_mmengine():
    student, teacher = ToyClassifier(), ToyClassifier(6)
    images = torch.randn(4, 3, 8, 8)
    config = dict(loss_kl=dict(type='KLDivergence', student='fc', teacher='fc'))
    distiller = Distiller(student, teacher, config, sample=images)
    step(distiller, student, images, torch.tensor([0, 1, 2, 0]))
    assert set(teacher.calls) == {'tensor'}


def test_a_classifier_of_mmpretrain_teaches_one_of_torchvision():
    from mmpretrain import get_model
    from torchvision.models import mobilenet_v3_small

    teacher = get_model(
        'resnet18_8xb16_cifar10',
        backbone=dict(stem_channels=8, base_channels=8),
        head=dict(in_channels=64, num_classes=CLASSES),
    )
    student = mobilenet_v3_small(num_classes=CLASSES)
    config = dict(
        loss_kl=dict(type='KLDivergence', tau=4, student='classifier', teacher='head.fc'),
        loss_map=dict(type='L2Loss', student='features.3', teacher='backbone.layer3', connector='auto'),
    )
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    distiller = Distiller(student, teacher, config, sample=images)
    found = step(distiller, student, images, labels)
    assert all(loss.isfinite() for loss in found.values())
    assert all(weight.grad is not None for weight in [*student.parameters(), *distiller.parameters()])


@pytest.mark.parametrize('kind', ['tuple', 'dict'])
def test_batches_of_several_arguments(kind):
    class Two(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.embed, self.fc = nn.Linear(4, width), nn.Linear(width, CLASSES)

        def forward(self, tokens, mask):
            return self.fc((self.embed(tokens) * mask[..., None]).mean(1))

    student, teacher = Two(3), Two(7)
    tokens, mask = torch.randn(4, 6, 4), torch.ones(4, 6)
    given = (tokens, mask) if kind == 'tuple' else dict(tokens=tokens, mask=mask)
    config = dict(
        loss_kl=dict(type='KLDivergence', student='fc', teacher='fc'),
        loss_tokens=dict(type='L2Loss', student='embed', teacher='embed', connector='auto'),
    )
    distiller = Distiller(student, teacher, config, sample=given)
    with distiller.record():
        student(tokens, mask)
    found = distiller(given)
    assert set(found) == {'loss_kl', 'loss_tokens'}


def test_an_average_of_the_weights_has_no_part_in_it():
    (student, teacher), (images, labels) = pair(), batch()
    distiller = Distiller(student, teacher, losses(), sample=images)
    average = torch.optim.swa_utils.AveragedModel(student)
    with distiller.record():
        task = F.cross_entropy(student(images), labels)
        average(images)
    (task + sum(distiller(images).values())).backward()
    average.update_parameters(student)
