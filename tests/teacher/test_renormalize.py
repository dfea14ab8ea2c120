import pytest
import torch
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmpretrain.models import ClsDataPreprocessor

from kd_plugins.errors import UserError
from kd_plugins.teacher.renormalize import Renormalize

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
HALF = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])


def images(preprocessor, data):
    return preprocessor(dict(inputs=[image.clone() for image in data]), False)['inputs']


@pytest.mark.parametrize('student_rgb', [False, True])
@pytest.mark.parametrize('teacher_rgb', [False, True])
def test_as_if_the_teacher_had_preprocessed_itself(student_rgb, teacher_rgb):
    stored = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    student = ClsDataPreprocessor(**IMAGENET, to_rgb=student_rgb)
    teacher = ClsDataPreprocessor(**HALF, to_rgb=teacher_rgb)
    convert = Renormalize.between(student, dict(**HALF, to_rgb=teacher_rgb), '')
    torch.testing.assert_close(convert(images(student, stored)), images(teacher, stored))


def test_mmengines_own_preprocessor():
    stored = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    student = ImgDataPreprocessor(**IMAGENET, bgr_to_rgb=True)
    teacher = ImgDataPreprocessor(**HALF, bgr_to_rgb=True)
    convert = Renormalize.between(student, dict(**HALF, to_rgb=True), '')
    torch.testing.assert_close(convert(images(student, stored)), images(teacher, stored))


def test_a_student_without_normalisation():
    stored = torch.rand(2, 3, 4, 5) * 255
    convert = Renormalize.between(BaseDataPreprocessor(), HALF, '')
    torch.testing.assert_close(convert(stored), (stored - 127.5) / 127.5)


def test_checkpoints_do_not_hold_it():
    assert not Renormalize.between(ClsDataPreprocessor(**IMAGENET), HALF, '').state_dict()


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ([1, 2, 3], r'at: expected a dict with mean, std and to_rgb, got \[1, 2, 3\]'),
        (dict(mean=[0.0, 0.0, 0.0]), r'at.std: expected a number per channel, none of them 0, got None'),
        (dict(mean=[0.0, 0.0], std=[1.0, 1.0]), r'at.mean: expected a number per channel, got \[0.0, 0.0\]'),
        (dict(mean=[0.0] * 3, std=[1.0, 0, 1.0]), r'at.std: expected .* none of them 0, got \[1.0, 0, 1.0\]'),
        (dict(**HALF, torgb=True), r"at.torgb: expected one of mean, std, to_rgb, got 'torgb'; did you mean 'to_rgb'"),
    ],
)
def test_bad_input(config, message):
    with pytest.raises(UserError, match=message):
        Renormalize.between(ClsDataPreprocessor(**IMAGENET), config, 'at')
