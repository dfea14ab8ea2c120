"""What --amp writes into a config, by device."""

import pytest
import torch
from mmengine.config import Config

from kd_plugins.engine import launch
from kd_plugins.errors import UserError
from kd_plugins.preflight import emulation
from kd_plugins.preflight.emulation import CPUSupport

SGD = dict(type='SGD', lr=0.1)


@pytest.fixture(autouse=True)
def _cpu_with_bfloat16(monkeypatch):
    monkeypatch.setattr(emulation, 'cpu_support', lambda: CPUSupport(True, True, True))


def written(amp, on_gpu, monkeypatch, **wrapper):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: on_gpu)
    config = Config(dict(default_scope='mmpretrain', optim_wrapper=wrapper or dict(optimizer=SGD)))
    launch.set_training_options(config, amp=amp)
    return config.optim_wrapper.to_dict()


@pytest.mark.parametrize(
    ('amp', 'on_gpu', 'expected'),
    [
        (True, True, dict(type='AmpOptimWrapper', loss_scale='dynamic')),
        ('fp16', True, dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16')),
        ('bf16', True, dict(type='AmpOptimWrapper', loss_scale=dict(enabled=False), dtype='bfloat16')),
        (True, False, dict(type='kd_plugins.CPUAmpOptimWrapper', loss_scale=dict(enabled=False), dtype='bfloat16')),
        ('bf16', False, dict(type='kd_plugins.CPUAmpOptimWrapper', loss_scale=dict(enabled=False), dtype='bfloat16')),
        ('fp16', False, dict(type='kd_plugins.CPUAmpOptimWrapper', loss_scale='dynamic', dtype='float16')),
        (False, False, {}),
    ],
)
def test_wrapper_of_the_device(amp, on_gpu, expected, monkeypatch):
    assert written(amp, on_gpu, monkeypatch) == dict(optimizer=SGD, **expected)


@pytest.mark.parametrize('on_gpu', [True, False])
def test_what_the_config_says_of_it_stays(on_gpu, monkeypatch):
    said = dict(type='AmpOptimWrapper', optimizer=SGD, dtype='float16', loss_scale=512.0, clip_grad=dict(max_norm=1))
    wrapper = written(True, on_gpu, monkeypatch, **said)
    assert {**wrapper, 'type': None} == {**said, 'type': None}
    assert written('bf16', on_gpu, monkeypatch, **said)['dtype'] == 'bfloat16'


def test_each_optimiser_of_a_constructor(monkeypatch):
    parts = dict(architecture=dict(optimizer=SGD), generator=dict(optimizer=SGD))
    wrapper = written('fp16', False, monkeypatch, constructor='SeparateOptimWrapperConstructor', **parts)
    assert wrapper.pop('constructor') == 'SeparateOptimWrapperConstructor'
    assert {name: part['type'] for name, part in wrapper.items()} == dict.fromkeys(
        parts, 'kd_plugins.CPUAmpOptimWrapper'
    )


@pytest.mark.parametrize(
    ('amp', 'on_gpu', 'dtype', 'refused'),
    [
        (True, False, None, True),
        (True, False, 'bfloat16', False),  # named in the config, and a warning of the preflight
        ('bf16', False, None, False),
        ('fp16', False, None, False),
        (True, True, None, False),
    ],
)
@pytest.mark.parametrize('support', [CPUSupport(False, False, True), CPUSupport(True, False, False)])
def test_amp_alone_is_refused_where_the_cpu_would_emulate(support, amp, on_gpu, dtype, refused, monkeypatch):
    monkeypatch.setattr(emulation, 'cpu_support', lambda: support)
    said = dict(optimizer=SGD, **(dict(dtype=dtype) if dtype else {}))
    if not refused:
        assert written(amp, on_gpu, monkeypatch, **said)['type'].endswith('AmpOptimWrapper')
        return
    with pytest.raises(UserError, match=r'^--amp: .* times as long as in float32; .*--amp bf16'):
        written(amp, on_gpu, monkeypatch, **said)


def test_amp_alone_is_refused_where_one_of_two_optimisers_names_none(monkeypatch):
    monkeypatch.setattr(emulation, 'cpu_support', lambda: CPUSupport(False, False, False))
    parts = dict(architecture=dict(optimizer=SGD, dtype='bfloat16'), generator=dict(optimizer=SGD))
    with pytest.raises(UserError, match=r'^--amp: '):
        written(True, False, monkeypatch, constructor='SeparateOptimWrapperConstructor', **parts)
