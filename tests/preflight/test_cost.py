"""The cost of a step that the preflight reports is what a plain loop over the same models costs."""

from functools import partial

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample
from shipped import CONFIGS
from torch.utils.flop_counter import FlopCounterMode

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.engine.config import load_config
from kd_plugins.preflight import inspect_training
from kd_plugins.preflight.flops import flop_counter

IMAGES = 2
torch_counter = partial(FlopCounterMode, display=False)
PREPROCESSOR = dict(type='ClsDataPreprocessor', num_classes=10)


def classifier(backbone, channels, head=None):
    head = head or dict(type='LinearClsHead', in_channels=channels, num_classes=10)
    neck = None if head['type'] == 'VisionTransformerClsHead' else dict(type='GlobalAveragePooling')
    parts = dict(data_preprocessor=PREPROCESSOR, backbone=backbone, neck=neck, head=head)
    return dict(type='mmpretrain.ImageClassifier', **parts)


RESNET_18 = classifier(dict(type='ResNet', depth=18, style='pytorch'), 512)
RESNET_34 = classifier(dict(type='ResNet', depth=34, style='pytorch'), 512)
MOBILENET = classifier(dict(type='MobileNetV2', widen_factor=0.35), 1280)
ARCH = dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96)
VIT = classifier(
    dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8),
    48,
    dict(type='VisionTransformerClsHead', num_classes=10, in_channels=48, topk=(1,)),
)


@MODELS.register_module()
class AlgorithmWithOwnLoss(SingleTeacherDistill):
    """Sends its images through a convolution of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.extra = torch.nn.Conv2d(3, 8, 3, padding=1)

    def loss(self, inputs, data_samples=None):
        return {**super().loss(inputs, data_samples), 'loss_extra': self.extra(inputs).mean()}


def reported(tmp_path, losses, **model):
    """What the preflight says of a step."""
    model = {'type': 'SingleTeacherDistill', **model}
    model['distiller'] = dict(type='ConfigurableDistiller', distill_losses=losses)
    path = tmp_path / 'config.py'
    base = str(CONFIGS / '_base_' / 'digits_resnet18_schedule.py')
    path.write_text(f'_base_ = [{base!r}]\nmodel = {model!r}\n')
    config = load_config(path)
    config.work_dir = str(tmp_path / 'run')
    findings = inspect_training(config)
    assert findings.faults == []
    return findings.cost


def built(config):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(config)


def images():
    return torch.rand(IMAGES, 3, 32, 32)


def samples():
    return [DataSample().set_gt_label(index) for index in range(IMAGES)]


def plain_step(config, counter):
    """Operations of one training step of a model alone, for one image."""
    model = built(config)
    with counter:
        sum(model.loss(images(), samples()).values()).backward()
    return counter.get_total_flops() / IMAGES


def forward_of(model, counter):
    with torch.no_grad(), counter:
        model.loss(images(), samples())
    return counter.get_total_flops() / IMAGES


@pytest.mark.parametrize(
    ('student', 'teacher', 'counter'),
    [
        # PyTorch's own counter, where it is right: no groups, no attention of a CPU
        (RESNET_18, RESNET_34, torch_counter),
        (MOBILENET, RESNET_18, flop_counter),
        (VIT, VIT, flop_counter),
    ],
    ids=['cnn', 'depthwise', 'vit'],
)
def test_a_step_costs_what_plain_loops_cost(student, teacher, counter, tmp_path):
    source = 'head.layers.head' if student is VIT else 'head.fc'
    losses = dict(loss_kl=dict(type='KLDivergence', student=source, teacher=source))
    found = reported(tmp_path, losses, architecture=student, teacher=teacher)
    assert found.student == pytest.approx(plain_step(student, counter()), rel=1e-3)
    assert found.teacher == pytest.approx(forward_of(built(teacher).eval(), counter()), rel=1e-3)
    assert found.losses == 0


def test_a_teacher_that_stops_early_costs_what_it_runs(tmp_path):
    losses = dict(loss_s3=dict(type='L1Loss', student='backbone.layer3', teacher='backbone.layer3', connector='auto'))
    found = reported(tmp_path, losses, architecture=RESNET_18, teacher=RESNET_34)
    backbone = built(RESNET_34).eval().backbone
    with torch.no_grad(), torch_counter() as counter:
        feature = backbone.maxpool(backbone.relu(backbone.norm1(backbone.conv1(images()))))
        for name in backbone.res_layers[:3]:
            feature = getattr(backbone, name)(feature)
    assert found.teacher == pytest.approx(counter.get_total_flops() / IMAGES)


def test_a_connector_costs_three_of_its_forward(tmp_path):
    hint = dict(type='L1Loss', student='backbone.layer2', teacher='backbone.layer3')
    # left to the preflight, which tries it once before the step
    connector = [dict(type='ResizeConnector', size=(2, 2)), dict(type='ConvModuleConnector')]
    found = reported(tmp_path, dict(loss_a={**hint, 'connector': connector}), architecture=RESNET_18, teacher=RESNET_34)
    assert found.losses == 3 * 2 * 128 * 256 * 2 * 2
    assert found.student == pytest.approx(plain_step(RESNET_18, torch_counter()))


def test_a_trainable_teacher_costs_its_backward_too(tmp_path):
    losses = dict(loss_kl=dict(type='KLDivergence', student='head.fc', teacher='head.fc', teacher_detach=False))
    found = reported(tmp_path, losses, architecture=RESNET_18, teacher=RESNET_34, teacher_trainable=True)
    assert found.teacher == pytest.approx(plain_step(RESNET_34, torch_counter()), rel=1e-3)
    assert found.student == pytest.approx(plain_step(RESNET_18, torch_counter()), rel=1e-3)


def test_a_student_that_does_not_learn_costs_its_forward(tmp_path):
    hint = dict(type='L1Loss', student='backbone.layer3', teacher='backbone.layer3')
    connector = dict(type='ConvModuleConnector', in_channel=256, out_channel=256)
    found = reported(
        tmp_path,
        dict(loss_a={**hint, 'connector': connector}),
        architecture=RESNET_18,
        teacher=RESNET_18,
        student_trainable=False,
    )
    assert found.student == pytest.approx(forward_of(built(RESNET_18), torch_counter()))
    # no gradient of the record is asked for
    assert found.losses == 2 * 2 * 256 * 256 * 2 * 2


def test_what_a_class_of_a_user_adds_is_the_student_s(tmp_path):
    losses = dict(loss_kl=dict(type='KLDivergence', student='head.fc', teacher='head.fc'))
    plain = reported(tmp_path, losses, architecture=RESNET_18, teacher=RESNET_18)
    own = reported(tmp_path, losses, architecture=RESNET_18, teacher=RESNET_18, type='AlgorithmWithOwnLoss')
    assert own.teacher == plain.teacher
    assert own.student - plain.student == 2 * 2 * 27 * 8 * 32 * 32
