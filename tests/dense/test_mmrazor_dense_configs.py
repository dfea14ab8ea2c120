"""MMRazor's configs that distil detectors and segmentors run through tools/train.py, as the wheel has them."""

from pathlib import Path

import pytest
from mmengine.utils import get_installed_path
from small_runs import check_run

pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')

FOLDER = Path(get_installed_path('mmrazor')) / '.mim' / 'configs' / 'distill'
# and the metrics that they validate with
CONFIGS = {
    'mmdet/cwd/cwd_cls_head_gfl_r101_fpn_gfl_r50_fpn_1x_coco.py': 'coco/bbox_mAP',
    'mmdet/cwd/cwd_fpn_frcnn_r101_frcnn_r50_1x_coco.py': 'coco/bbox_mAP',
    'mmdet/cwd/cwd_fpn_retina_r101_retina_r50_1x_coco.py': 'coco/bbox_mAP',
    'mmdet/cwd/cwd_fpn_retina_r101_retina_r50_1x_coco_visualization.py': 'coco/bbox_mAP',
    'mmdet/fbkd/fbkd_fpn_faster-rcnn_r101_faster-rcnn_r50_1x_coco.py': 'coco/bbox_mAP',
    'mmdet/mgd/mgd_fpn_retina_x101_retina_r50_2x_coco.py': 'coco/bbox_mAP',
    'mmdet/pkd/pkd_fpn_faster-rcnn_r101_faster-rcnn_r50_2x_coco.py': 'coco/bbox_mAP',
    'mmdet/pkd/pkd_fpn_fcos_x101_retina_r50_1x_coco.py': 'coco/bbox_mAP',
    'mmdet/pkd/pkd_fpn_mask-rcnn_swin_retina_r50_2x_coco.py': 'coco/bbox_mAP',
    'mmdet/pkd/pkd_fpn_reppoints_x101-dcn_reppoints_r50_2x_coco.py': 'coco/bbox_mAP',
    'mmdet/pkd/pkd_fpn_retina_x101_retina_r50_2x_coco.py': 'coco/bbox_mAP',
    'mmseg/cwd/cwd_logits_pspnet_r101-d8_pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py': 'mIoU',
}


def test_none_is_missing():
    found = {
        str(path.relative_to(FOLDER)) for library in ('mmdet', 'mmseg') for path in FOLDER.rglob(f'{library}/**/*.py')
    }
    assert found == set(CONFIGS)
    assert len(found) == 12


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_trains_two_steps_and_validates(name, coco, cityscapes, tmp_path, capsys):
    root = cityscapes if name.startswith('mmseg') else coco
    check_run(FOLDER / name, root, CONFIGS[name], tmp_path, capsys)
