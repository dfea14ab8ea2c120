"""What cannot be measured with is refused at once."""

import pytest
import torch

from kd_plugins.benchmark.setting import Setting
from kd_plugins.errors import UserError


@pytest.mark.parametrize(
    ('option', 'value'),
    [('batch', 0), ('batch', -3), ('size', 0), ('rounds', 0), ('threads', 0), ('device', 'tpu'), ('amp', 'fp8')],
)
def test_refused(option, value):
    with pytest.raises(UserError) as caught:
        Setting(**{option: value})
    assert [fault.where for fault in caught.value.faults] == [f'--{option}']


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_gpu_that_is_not_there():
    with pytest.raises(UserError, match='a machine without'):
        Setting(device='cuda')


def test_all_faults_at_once():
    with pytest.raises(UserError) as caught:
        Setting(batch=0, rounds=-1, amp='int4')
    assert len(caught.value.faults) == 3


def test_autocast_is_that_of_the_precision():
    left, right = torch.ones(2, 2), torch.ones(2, 2)
    for amp, dtype in (('none', torch.float32), ('bf16', torch.bfloat16)):
        setting = Setting(amp=amp)
        with setting.autocast():
            assert (left @ right).dtype == dtype == setting.dtype
