"""What meets in the losses of a detector of two stages, for one image."""

import cv2
import numpy as np
import torch
from mmengine.registry import DefaultScope

from kd_plugins.engine.config import load_config
from kd_plugins.preflight import build_from_config
from kd_plugins.visualize import meetings_on, prepare_image

TWO_STAGES = """
_base_ = ['mmdet::_base_/datasets/coco_detection.py', 'mmdet::_base_/default_runtime.py']
detector = dict(
    cfg_path='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    pretrained=False,
    backbone=dict(depth=18, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
extracted = 'roi_head.bbox_roi_extractor'
level = dict(source='neck', data_idx=2)
model = dict(
    type='SingleTeacherDistill',
    architecture=detector,
    teacher=detector,
    distiller=dict(
        type='ConfigurableDistiller',
        distill_losses=dict(
            loss_regions=dict(type='L2Loss', student=extracted, teacher=extracted),
            loss_level=dict(type='PKDLoss', student=level, teacher=level),
        ),
    ),
)
"""


def test_regions_are_not_drawn_as_the_image(tmp_path):
    (tmp_path / 'config.py').write_text(TWO_STAGES)
    config = load_config(tmp_path / 'config.py', {'test_dataloader.dataset.pipeline.1.scale': (128, 96)})
    assert cv2.imwrite(str(tmp_path / 'red.png'), np.full((96, 120, 3), (0, 0, 255), np.uint8))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        algorithm = build_from_config(config).eval()

    image = prepare_image(config, tmp_path / 'red.png')
    meetings, unseen, size = meetings_on(algorithm, image)

    assert (image.pixels == (255, 0, 0)).all()
    # the sides of the batch are multiples of 32
    assert size == (96, 128)
    assert [(meeting.name, meeting.student.shape) for meeting in meetings] == [('loss_level', (256, 6, 8))]
    assert list(unseen) == ['loss_regions']
    assert unseen['loss_regions'].endswith(', 256, 7, 7), are not one for the image')
