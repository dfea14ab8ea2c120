"""A compiler that is missing, and a recorder that compiled code has no answer for, are said before training."""

import importlib.util

import pytest
import torch
from mmengine.config import Config
from toy import algorithm_config, logits_only, runner_config

from kd_plugins.errors import UserError
from kd_plugins.preflight import compilation
from kd_plugins.preflight.check import check_training
from kd_plugins.preflight.compilation import compiler_faults

COMPILED = dict(model=dict(compile=True))


def faults(**config):
    return [str(fault) for fault in compiler_faults(Config(config))]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with the programs that a test names on its PATH, and maybe a GPU."""

    def make(*programs, gpu=None, triton=True, **variables):
        for name in programs:
            (tmp_path / name).write_text('#!/bin/sh\n')
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv('PATH', str(tmp_path))
        for name in ('CXX', 'CC'):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(compilation.sys, 'platform', 'linux')
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu is not None)
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: gpu)
        found = importlib.util.find_spec
        monkeypatch.setattr(
            compilation.importlib.util,
            'find_spec',
            lambda name: found('torch') if triton and name == 'triton' else None,
        )

    return make


@pytest.mark.parametrize(
    ('programs', 'variables', 'advice'),
    [
        ((), {}, 'no g++ on PATH; install g++'),
        (('gcc',), {}, 'no g++ on PATH; install g++'),
        (('clang++',), {}, 'no g++ on PATH; set the environment variable CXX=clang++'),
        (('g++',), {'CXX': 'icpx'}, 'no icpx on PATH; set the environment variable CXX=g++'),
    ],
)
def test_no_compiler_on_a_cpu(programs, variables, advice, machine):
    machine(*programs, **variables)
    (fault,) = faults(**COMPILED)
    assert fault.startswith('model.compile: expected a C++ compiler, which torch.compile needs on a CPU, got ')
    assert advice in fault


@pytest.mark.parametrize('variables', [{}, {'CXX': 'clang++'}])
def test_a_compiler_on_a_cpu(variables, machine):
    machine('g++', 'clang++', **variables)
    assert faults(**COMPILED) == []


@pytest.mark.parametrize(
    ('machine_options', 'programs', 'got'),
    [
        (dict(gpu=(9, 0), triton=False), ('gcc',), 'the package triton, which torch.compile needs on a GPU, got none'),
        (dict(gpu=(6, 1)), ('gcc',), 'of compute capability 7.0 or later, got one of compute capability 6.1'),
        (dict(gpu=(9, 0)), (), 'a C compiler, which triton needs, got no gcc and no clang on PATH'),
        (dict(gpu=(9, 0), CC='icx'), ('gcc',), 'a C compiler, which triton needs, got no icx on PATH'),
    ],
)
def test_what_a_gpu_needs(machine_options, programs, got, machine):
    machine(*programs, **machine_options)
    (fault,) = faults(**COMPILED)
    assert got in fault


def test_a_gpu_with_all_of_it(machine):
    machine('clang', gpu=(9, 0))
    assert faults(**COMPILED) == []


def test_only_where_something_is_compiled_by_inductor(machine):
    machine()
    assert faults(model=dict()) == faults(model=dict(compile=False)) == faults(compile=None, model=dict()) == []
    assert faults(model=dict(compile=dict(backend='aot_eager'))) == []
    found = faults(
        compile=dict(mode='default'), model=dict(compile=dict(), teacher_forward=dict(compile=True, fold=True))
    )
    assert [fault.partition(':')[0] for fault in found] == ['compile', 'model.compile', 'model.teacher_forward.compile']


def config_of(tmp_path, source, **changes):
    distiller = logits_only()
    distiller['student_recorders']['logits'] = source
    model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(distiller=distiller, **changes))
    return Config({'default_scope': 'mmengine', 'launcher': 'none', **runner_config(tmp_path, model)})


@pytest.mark.parametrize(
    ('source', 'got'),
    [
        (dict(type='ModuleOutputGrads', source='fc'), "the gradient of 'fc': compiled code is one operation"),
        (dict(type='FunctionOutputs', source='torch.nn.functional.relu'), "'torch.nn.functional.relu': compiled code"),
    ],
)
def test_recorders_that_compiled_code_has_no_answer_for(source, got, tmp_path):
    with pytest.raises(UserError) as error:
        check_training(config_of(tmp_path, source, compile=dict(backend='eager')))
    fault = error.value.faults[0]
    assert fault.where == 'model.distiller.student_recorders.logits'
    assert got in fault.got


def test_a_module_may_be_recorded(tmp_path):
    source = dict(type='ModuleOutputs', source='fc')
    assert not check_training(config_of(tmp_path, source, compile=dict(backend='eager'))).faults


def test_what_is_no_argument_of_torch_compile(tmp_path):
    with pytest.raises(UserError) as error:
        check_training(config_of(tmp_path, dict(type='ModuleOutputs', source='fc'), compile=dict(mode='fast')))
    (fault,) = error.value.faults
    assert fault.where == 'model.compile'
    assert 'Unrecognized mode=fast' in fault.got


def test_the_preflight_compiles_nothing(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(torch.nn.Module, 'compile', refuse)
    check_training(config_of(tmp_path, dict(type='ModuleOutputs', source='fc'), compile=dict(backend='eager')))
