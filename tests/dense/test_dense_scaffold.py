"""The scaffold pairs detectors by the levels of their pyramids, and segmentors by their class maps."""

import pytest

from kd_plugins.engine.config import load_config
from kd_plugins.preflight import build_from_config
from tools import new_config

RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
PSPNET = 'pspnet_r18-d8_4xb2-80k_cityscapes-512x1024'


def run(out, method, teacher, student, *more):
    return new_config.main(['--method', method, '--teacher', teacher, '--student', student, '-o', str(out), *more])


def test_detectors(tmp_path):
    out = tmp_path / 'new.py'
    assert run(out, 'pkd', 'retinanet_r101_fpn_2x_coco', RETINANET) == 0
    config = load_config(out)
    assert config.model.teacher == dict(cfg_path='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py', pretrained=True)
    assert config.model.architecture == dict(cfg_path=RETINANET, pretrained=False)
    losses = config.model.distiller.distill_losses
    # P3 to P7
    assert list(losses) == [f'loss_stride{stride}' for stride in (8, 16, 32, 64, 128)]
    assert losses.loss_stride128.student == losses.loss_stride128.teacher == dict(source='neck', data_idx=4)
    assert losses.loss_stride128.type == 'kd_plugins.PKDLoss'
    assert 'connector' not in losses.loss_stride128
    assert config.train_dataloader.dataset.type == 'CocoDataset'
    assert config.val_cfg.type == 'kd_plugins.SingleTeacherDistillValLoop'
    text = out.read_text()
    assert '# Needs: data/coco/; ' in text
    assert 'neck[0] 256x40x40 (stride 8) and neck[0] 256x40x40 (stride 8)' in text


def test_levels_are_paired_by_their_stride(tmp_path):
    out = tmp_path / 'new.py'
    assert run(out, 'pkd', 'faster-rcnn_r101_fpn_1x_coco', RETINANET) == 0
    losses = load_config(out).model.distiller.distill_losses
    # a Faster R-CNN has P2 to P6, a RetinaNet P3 to P7
    assert {name: (loss.student.data_idx, loss.teacher.data_idx) for name, loss in losses.items()} == {
        'loss_stride8': (0, 1),
        'loss_stride16': (1, 2),
        'loss_stride32': (2, 3),
        'loss_stride64': (3, 4),
    }


@pytest.mark.parametrize(
    ('teacher', 'normalisation'),
    [
        # Caffe's weights know images in BGR, of standard deviation 1, and YOLOX those of the file
        ('retinanet_r101-caffe_fpn_1x_coco', dict(mean=[103.53, 116.28, 123.675], std=[1.0] * 3, to_rgb=False)),
        ('yolox_l_8xb8-300e_coco', dict(mean=[0.0] * 3, std=[1.0] * 3, to_rgb=False)),
    ],
)
def test_a_pretrained_student_and_its_teacher_have_normalisations_of_their_own(tmp_path, teacher, normalisation):
    out = tmp_path / 'new.py'
    assert run(out, 'pkd', teacher, RETINANET) == 0
    config = load_config(out)
    assert config.model.architecture == dict(cfg_path=RETINANET, pretrained=False)
    assert config.model.teachers.teacher.data_preprocessor == normalisation
    assert 'those of the teacher are converted' in out.read_text()


def test_a_student_from_scratch_takes_the_teachers_normalisation(tmp_path):
    out = tmp_path / 'new.py'
    assert run(out, 'pkd', 'yolox_l_8xb8-300e_coco', 'rtmdet_l_8xb32-300e_coco') == 0
    changes = load_config(out).model.architecture.data_preprocessor
    assert changes == dict(mean=None, std=None, bgr_to_rgb=False)


def test_a_segmentor_from_scratch_takes_the_teachers_normalisation(tmp_path):
    out = tmp_path / 'new.py'
    student = 'bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024'
    assert run(out, 'cwd', 'cgnet_fcn_4xb4-60k_cityscapes-680x680', student) == 0
    config = load_config(out)
    mean = [72.39239876, 82.90891754, 73.15835921]
    assert config.data_preprocessor.mean == mean
    config.model.teacher.pretrained = False  # not downloaded here
    model = build_from_config(config)
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx(mean)
    assert model.data_preprocessor.size == (1024, 1024)


def test_pyramids_of_different_width_get_connectors(tmp_path, capsys):
    out = tmp_path / 'new.py'
    # 256 channels and 128
    assert run(out, 'pkd', 'rtmdet_l_8xb32-300e_coco', 'rtmdet_s_8xb32-300e_coco') == 0
    losses = load_config(out).model.distiller.distill_losses
    assert {name: loss.connector for name, loss in losses.items()} == {
        f'loss_stride{stride}': 'auto' for stride in (8, 16, 32)
    }
    printed = capsys.readouterr()
    # COCO is not there
    assert 'loss_stride8.connector: ' in printed.err
    assert printed.out.startswith(f'{out}: passes')


def test_segmentors(tmp_path):
    out = tmp_path / 'new.py'
    assert run(out, 'cwd', 'pspnet_r101-d8_4xb2-80k_cityscapes-512x1024', PSPNET) == 0
    config = load_config(out)
    ((name, loss),) = config.model.distiller.distill_losses.items()
    assert (name, loss.type, loss.tau, loss.loss_weight) == ('loss_cwd', 'kd_plugins.ChannelWiseDivergence', 1, 5)
    assert loss.student == loss.teacher == 'decode_head.conv_seg'
    assert config.train_dataloader.dataset.type == 'CityscapesDataset'
    assert '# Launch: bash tools/dist_train.sh ' in out.read_text()


@pytest.mark.parametrize(
    ('method', 'teacher', 'student', 'more', 'where', 'message'),
    [
        ('kd', RETINANET, RETINANET, [], '--student', 'choose another --method'),
        ('pkd', 'retinanet_r101_fpn_2x_coc', RETINANET, [], '--teacher', "did you mean 'retinanet_r101_fpn_2x_coco'"),
        ('pkd', RETINANET, RETINANET, ['--dataset', 'digits'], '--dataset', 'leave it out'),
        ('pkd', RETINANET, 'cornernet_hourglass104_8xb6-210e-mstest_coco', [], '--student', 'feature pyramid'),
        ('cwd', 'pspnet_r50-d8_4xb4-80k_ade20k-512x512', PSPNET, [], '--teacher', '150 classes'),
        ('cwd', PSPNET, 'mask2former_r50_8xb2-90k_cityscapes-512x1024', [], '--student', '320 x 320 pixels'),
    ],
)
def test_bad_input(tmp_path, capsys, method, teacher, student, more, where, message):
    assert run(tmp_path / 'new.py', method, teacher, student, *more) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: {where}\n')
    assert message in error
    assert 'Traceback' not in error
    assert list(tmp_path.iterdir()) == []
