import pytest
import torch
from toy import algorithm_config

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.errors import UserError
from kd_plugins.teacher import TeacherForward


def test_nothing_said_is_the_defaults():
    assert TeacherForward.read(None) == TeacherForward.read({}) == TeacherForward()


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(fold=True), r"teacher_forward\.fold: expected one of fold_bn, .* got 'fold'"),
        (dict(fold_bn='yes'), r"teacher_forward\.fold_bn: expected one of True, False, got 'yes'"),
        (
            dict(dtype='bfloat16'),
            r"teacher_forward\.dtype: expected one of None, 'fp32', 'bf16', 'fp16', got 'bfloat16'",
        ),
        (dict(mode='predict'), r"teacher_forward\.mode: expected one of 'auto', 'loss', 'tensor', got 'predict'"),
        (dict(compile=1), r'teacher_forward\.compile: expected True, False or a dict, got 1'),
        ('fast', r"teacher_forward: expected a dict, got 'fast'"),
    ],
)
def test_what_is_no_switch_is_refused(config, message):
    with pytest.raises(UserError, match=message):
        SingleTeacherDistill(**algorithm_config(teacher_forward=config))


def test_all_faults_at_once():
    with pytest.raises(UserError) as caught:
        TeacherForward.read(dict(fold=1, inplace=2, mode='x'))
    assert [fault.where for fault in caught.value.faults] == [
        'teacher_forward.fold',
        'teacher_forward.inplace',
        'teacher_forward.mode',
    ]


def test_dtype_of_autocast():
    assert TeacherForward().autocast_dtype('cpu') is None
    assert TeacherForward(dtype='bf16').autocast_dtype('cpu') == torch.bfloat16
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert TeacherForward().autocast_dtype('cpu') == torch.bfloat16
        assert TeacherForward(dtype='fp32').autocast_dtype('cpu') is None
