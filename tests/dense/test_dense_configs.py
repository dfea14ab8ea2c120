"""Our own configs of detectors and segmentors are short, and run."""

import pytest
import shipped
from small_runs import check_run

DENSE = {
    'cwd/cwd_logits_pspnet-r101_pspnet-r18_4xb2-80k_cityscapes.py': 'mIoU',
    'fbkd/fbkd_fpn_faster-rcnn-r101_faster-rcnn-r50_8xb2_coco.py': 'coco/bbox_mAP',
    'pkd/pkd_fpn_retinanet-r101_retinanet-r50_8xb2_coco.py': 'coco/bbox_mAP',
}


def test_none_is_missing():
    assert {path.relative_to(shipped.CONFIGS).as_posix() for path in shipped.DENSE} == set(DENSE)


@pytest.mark.parametrize('name', DENSE)
def test_it_is_short(name):
    assert len((shipped.CONFIGS / name).read_text().splitlines()) < 40


@pytest.mark.slow
@pytest.mark.parametrize('name', DENSE)
def test_trains_two_steps_and_validates(name, coco, cityscapes, tmp_path, capsys):
    check_run(shipped.CONFIGS / name, cityscapes if name.startswith('cwd') else coco, DENSE[name], tmp_path, capsys)
