"""Mixed precision that the machine cannot do is said before the run."""

import pytest
import torch
from mmengine.config import Config

from kd_plugins.preflight import precision
from kd_plugins.preflight.precision import computes_in, precision_faults

SGD = dict(type='SGD', lr=0.1)
CPU = 'kd_plugins.CPUAmpOptimWrapper'


def faults(**wrapper):
    return [str(fault) for fault in precision_faults(Config(dict(optim_wrapper=wrapper)))]


@pytest.fixture(params=[True, False], ids=['GPU', 'CPU'])
def on_gpu(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: request.param)
    return request.param


def test_wrapper_of_the_other_device(on_gpu):
    ours, other = (CPU, 'AmpOptimWrapper')[on_gpu], (CPU, 'AmpOptimWrapper')[not on_gpu]
    (fault,) = faults(type=other, optimizer=SGD)
    assert fault.startswith('optim_wrapper.type: expected ' + ('no GPU' if on_gpu else 'a GPU'))
    assert f"pass --amp, which chooses by the machine, or write type='{ours}'" in fault


def test_of_each_part(on_gpu):
    part = dict(type=(CPU, 'AmpOptimWrapper')[not on_gpu], optimizer=SGD)
    found = faults(constructor='SeparateOptimWrapperConstructor', generator=part, architecture=dict(optimizer=SGD))
    assert [fault.partition(':')[0] for fault in found] == ['optim_wrapper.generator.type']


@pytest.mark.parametrize(('dtype', 'other'), [('bfloat16', 'fp16'), ('float16', 'bf16')])
def test_precision_that_the_device_lacks(dtype, other, on_gpu, monkeypatch):
    lacking = getattr(torch, dtype)
    monkeypatch.setattr(precision, 'computes_in', lambda asked, _: asked != lacking)
    kind = (CPU, 'AmpOptimWrapper')[on_gpu]
    (fault,) = faults(type=kind, optimizer=SGD, dtype=dtype)
    device = 'GPU' if on_gpu else 'CPU'
    assert fault.startswith(f"optim_wrapper.dtype: expected a precision that the {device} computes in, got '{dtype}'")
    assert f'--amp {other}' in fault
    # what a wrapper without dtype computes in
    assert len(faults(type=kind, optimizer=SGD)) == (dtype == ('float16' if on_gpu else 'bfloat16'))


def test_full_precision_is_nobodys_business(on_gpu):
    assert faults(optimizer=SGD) == faults(type='OptimWrapper', optimizer=SGD) == faults() == []


def test_gpu_without_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: False)
    assert not computes_in(torch.bfloat16, 'cuda')
    assert computes_in(torch.float16, 'cuda')


@pytest.mark.parametrize(('dtype', 'half'), [(torch.bfloat16, True), (torch.float64, False)])
def test_cpu_is_tried(dtype, half):
    """float64 stands for a precision to which torch's autocast does not cast: it warns and leaves float32."""
    state = torch.get_rng_state()
    assert computes_in(dtype, 'cpu') == half
    assert torch.equal(torch.get_rng_state(), state)


def test_cpu_whose_convolutions_refuse(monkeypatch):
    def refuse(*_):
        raise RuntimeError('mkldnn convolution needs avx512_core_fp16')

    monkeypatch.setattr(precision.F, 'conv2d', refuse)
    assert not computes_in(torch.float16, 'cpu')
