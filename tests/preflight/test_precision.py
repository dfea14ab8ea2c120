"""Mixed precision that the machine cannot do is said before the run."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from kd_plugins.engine.config import load_config
from kd_plugins.preflight import emulation, inspect_training, precision
from kd_plugins.preflight.emulation import CPUSupport
from kd_plugins.preflight.precision import computes_in, precision_faults, precision_warnings

SGD = dict(type='SGD', lr=0.1)
CPU = 'kd_plugins.CPUAmpOptimWrapper'
STUDENT = Path(__file__).parents[2] / 'configs/quickstart/student_cnn_digits.py'


def faults(**wrapper):
    return [str(fault) for fault in precision_faults(Config(dict(optim_wrapper=wrapper)))]


@pytest.fixture(params=[True, False], ids=['GPU', 'CPU'])
def on_gpu(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: request.param)
    return request.param


@pytest.fixture
def cpu(monkeypatch):
    """A CPU of one's choice, without a GPU."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)

    def choose(bf16=False, fp16=False, instructions=False):
        monkeypatch.setattr(emulation, 'cpu_support', lambda: CPUSupport(bf16, fp16, instructions))

    return choose


def test_wrapper_of_the_other_device(on_gpu, monkeypatch):
    monkeypatch.setattr(emulation, 'cpu_support', lambda: CPUSupport(True, True, True))
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


def warnings_of(**config):
    return [(fault.where, str(fault)) for fault in precision_warnings(Config(config))]


@pytest.mark.parametrize(
    ('support', 'dtype', 'factor'),
    [
        (dict(), 'bfloat16', '4 to 15 times'),
        (dict(instructions=True), 'bfloat16', '4 to 15 times'),  # ONEDNN_MAX_CPU_ISA=AVX2
        (dict(bf16=True), 'bfloat16', '1 to 4 times'),  # AVX-512 without BF16
        (dict(bf16=True, instructions=True), 'bfloat16', None),
        (dict(bf16=True, instructions=True), 'float16', '4 to 15 times'),
        (dict(bf16=True, instructions=True, fp16=True), 'float16', None),
    ],
)
def test_what_the_cpu_emulates_is_a_warning(support, dtype, factor, cpu):
    cpu(**support)
    teacher = dict(teacher_forward=dict(dtype={'bfloat16': 'bf16', 'float16': 'fp16'}[dtype]))
    found = warnings_of(optim_wrapper=dict(type=CPU, optimizer=SGD, dtype=dtype), model=teacher)
    if factor is None:
        assert found == []
        return
    assert [where for where, _ in found] == ['optim_wrapper.dtype', 'model.teacher_forward.dtype']
    assert all(f"'{dtype}', which it emulates: a step takes about {factor}" in message for _, message in found)
    # what is better on this CPU, and nothing that is not
    assert all(('or take bf16' in message) == (dtype == 'float16') for _, message in found)
    assert not any('or take fp16' in message for _, message in found)


def test_a_wrapper_without_dtype_computes_in_bfloat16(cpu):
    cpu()
    (found,) = warnings_of(optim_wrapper=dict(type=CPU, optimizer=SGD))
    assert "'bfloat16'" in found[1]


@pytest.mark.parametrize('dtype', [None, 'fp32', 'bf8', 16])
def test_full_precision_and_none_at_all_are_no_warning(dtype, cpu):
    cpu()
    model = dict(teacher_forward=dict(dtype=dtype))
    assert warnings_of(optim_wrapper=dict(optimizer=SGD), model=model) == []
    assert warnings_of(optim_wrapper=dict(type=CPU, optimizer=SGD, dtype=torch.float64)) == []


def test_on_a_gpu_the_cpu_does_not_matter(cpu, monkeypatch):
    cpu()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert (
        warnings_of(optim_wrapper=dict(type=CPU, optimizer=SGD), model=dict(teacher_forward=dict(dtype='bf16'))) == []
    )


def test_the_preflight_warns(cpu, tmp_path):
    cpu()
    options = dict(optim_wrapper=dict(type=CPU, dtype='bfloat16'), work_dir=str(tmp_path))
    findings = inspect_training(load_config(STUDENT, options))
    assert findings.faults == []
    assert [fault.where for fault in findings.warnings] == ['optim_wrapper.dtype']


def test_a_gpu_wrapper_on_a_cpu_that_emulates_is_not_sent_to_amp(cpu):
    cpu()
    (fault,) = faults(type='AmpOptimWrapper', optimizer=SGD)
    assert "write type='OptimWrapper'" in fault
    assert '--amp' not in fault


def test_the_processor_of_this_machine_is_asked():
    """Whatever it answers, the process says so under any limit for oneDNN."""
    program = 'from kd_plugins.preflight.emulation import cpu_support; print(cpu_support().onednn_bfloat16)'
    limits = {**os.environ, 'ONEDNN_MAX_CPU_ISA': 'AVX2'}
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], env=limits, capture_output=True, text=True)
    assert done.stdout.strip() in ('False', *(['True'] if platform.machine() not in ('x86_64', 'AMD64') else []))
