"""What detectors compute in a distillation: what they compute alone, and of the teacher no loss that nothing needs."""

import copy

import pytest
import torch
from toy import ToyClassifier, toy_batch

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.build import build_model
from kd_plugins.losses import L2Loss
from kd_plugins.memory_format import reads_in_order

LEVEL = dict(source='neck', data_idx=0)
ROI = 'roi_head.bbox_roi_extractor'
SMALL = dict(
    cfg_path='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    backbone=dict(depth=18, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16), bbox_head=dict(in_channels=16, fc_out_channels=32, num_classes=3)
    ),
)


MASKED = {**SMALL, 'cfg_path': 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'}
MASKED['roi_head'] = dict(
    SMALL['roi_head'],
    mask_roi_extractor=dict(out_channels=16),
    mask_head=dict(in_channels=16, conv_out_channels=16, num_classes=3),
)


def one_stage(classes):
    head = dict(num_classes=classes, in_channels=16, feat_channels=16, stacked_convs=1)
    parts = dict(backbone=SMALL['backbone'], neck=SMALL['neck'], bbox_head=head)
    return dict(cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', **parts)


def detector(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return build_model(config, 'model')[0].eval()


@pytest.fixture(scope='module')
def batch():
    """Two images with a box each."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    samples = []
    for left in (4.0, 20.0):
        boxes = torch.tensor([[left, 10.0, left + 40, 60.0]])
        shape = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), (64, 96))
        samples.append(
            DetDataSample(
                metainfo=dict(shape, scale_factor=(1.0, 1.0)),
                gt_instances=InstanceData(bboxes=boxes, labels=torch.tensor([2])),
            )
        )
    return dict(inputs=torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)), data_samples=samples)


@pytest.fixture
def distillation():
    """Of the first level of the pyramid, and of what is cut out of all of them."""
    losses = {
        'loss_p2': dict(type='L2Loss', student=LEVEL, teacher=LEVEL),
        'loss_roi': dict(type='L2Loss', student=ROI, teacher=ROI),
    }
    return SingleTeacherDistill(
        architecture=detector(),
        teacher=detector(),
        distiller=dict(type='ConfigurableDistiller', distill_losses=losses),
        # of folded BatchNorms, boxes of other places may come
        teacher_forward=dict(fold_bn=False, mode='tensor'),
    ).eval()


def test_the_students_losses_and_gradients(distillation, batch):
    alone = detector()
    torch.manual_seed(2)
    plain = alone(**copy.deepcopy(batch), mode='loss')
    total, _ = alone.parse_losses(plain)
    total.backward()
    inputs = distillation.lay_out(batch['inputs'], batch['data_samples'])
    torch.manual_seed(2)
    found = distillation.run_student(inputs, copy.deepcopy(batch['data_samples']))
    distillation.parse_losses(found)[0].backward()
    assert {f'student.{name}' for name in plain} == set(found)
    assert found['student.loss_bbox'].item() > 0
    for name, value in plain.items():
        # a list has a loss for each level
        both = [torch.stack([*part]) if isinstance(part, list) else part for part in (value, found[f'student.{name}'])]
        assert torch.equal(*both), name
    for (name, weight), own in zip(alone.named_parameters(), distillation.student.parameters(), strict=True):
        assert weight.grad is own.grad is None or torch.equal(weight.grad, own.grad), name


def test_the_teachers_records(distillation, batch):
    alone, records = detector(), []
    for name in ('neck', ROI):
        alone.get_submodule(name).register_forward_hook(lambda module, inputs, output: records.append(output))
    with torch.no_grad():
        alone(**copy.deepcopy(batch), mode='tensor')
    for _ in range(2):
        with distillation.distiller.teacher_recorders as recorders:
            distillation.run_teacher(distillation.lay_out(*batch.values()), copy.deepcopy(batch['data_samples']))
        pyramid, cut = (part for found in recorders.pop().values() for part in found)
        assert torch.equal(pyramid[0], records[0][0])
        assert torch.equal(cut, records[1])


def test_predictions(distillation, batch):
    with torch.no_grad():
        (one, _), (other, _) = (model(**copy.deepcopy(batch), mode='predict') for model in (distillation, detector()))
    assert torch.equal(one.pred_instances.bboxes, other.pred_instances.bboxes)
    assert torch.equal(one.pred_instances.scores, other.pred_instances.scores)


def test_a_deformable_convolution():
    """DCNv2, which reads its offsets and its mask in order as well."""
    from mmcv.ops import ModulatedDeformConv2dPack

    torch.manual_seed(0)
    student = ToyClassifier().eval()
    student.conv2 = ModulatedDeformConv2dPack(4, 4, 3, padding=1)
    torch.nn.init.normal_(student.conv2.conv_offset.weight)
    alone = copy.deepcopy(student)
    expected = alone(**toy_batch(), mode='loss')['loss']
    expected.backward()
    sides = dict(student='fc', teacher='fc')
    distiller = dict(type='ConfigurableDistiller', distill_losses=dict(loss_kl=dict(type='KLDivergence', **sides)))
    algorithm = SingleTeacherDistill(distiller=distiller, teacher=ToyClassifier(), architecture=student).eval()
    found = algorithm(**toy_batch(), mode='loss')['student.loss']
    found.backward()
    assert torch.equal(found, expected)
    assert torch.equal(student.conv1.weight.grad, alone.conv1.weight.grad)


@pytest.mark.parametrize(
    ('config', 'found'),
    [
        ('retinanet/retinanet_r50_fpn_1x_coco.py', False),
        # calls deform_conv2d, and has no layer of mmcv.ops
        ('tood/tood_r50_fpn_1x_coco.py', True),
    ],
)
def test_which_detectors_read_memory_in_order(config, found):
    no_weights = dict(backbone=dict(init_cfg=None))
    assert reads_in_order(build_model(dict(cfg_path=f'mmdet::{config}', **no_weights), 'model')[0]) == found


@pytest.mark.parametrize(
    ('teacher', 'level', 'failure'),
    [(MASKED, 1, "object has no attribute 'masks'"), (one_stage(classes=1), 0, 'Class values must be smaller')],
    ids=['no masks', 'one class'],
)
def test_a_teacher_whose_loss_the_data_do_not_serve(teacher, level, failure, batch):
    """They have boxes of the third class."""
    alone = detector(teacher, seed=1)
    with pytest.raises(Exception, match=failure):
        alone(**copy.deepcopy(batch), mode='loss')
    loss = dict(type='L2Loss', student=LEVEL, teacher=dict(LEVEL, data_idx=level))
    algorithm = SingleTeacherDistill(
        architecture=detector(one_stage(classes=3)),
        teacher=detector(teacher, seed=1),
        distiller=dict(type='ConfigurableDistiller', distill_losses=dict(loss_p3=loss)),
    ).eval()
    found = algorithm(**copy.deepcopy(batch), mode='loss')
    expected = L2Loss()(algorithm.student.extract_feat(batch['inputs'])[0], alone.extract_feat(batch['inputs'])[level])
    torch.testing.assert_close(found['distill.loss_p3'], expected, rtol=1e-4, atol=0)
