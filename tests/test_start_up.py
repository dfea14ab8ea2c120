"""What is imported, and when: nothing that only some runs need, before they need it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

# what is only of use to some runs, and takes long to import
NOT_YET = (
    'mmpretrain',
    'mmrazor',
    'mmcv',
    'torchvision',
    'sklearn',
    'matplotlib',
    'torch._dynamo',
    'torch._inductor',
    'triton',
    'torchdistill',
    'modelopt',
)
SCRIPT = """
import json, sys
import torch
built = [0]
init = torch.nn.Module.__init__
def count(self, *args, **kwargs):
    built[0] += 1
    init(self, *args, **kwargs)
torch.nn.Module.__init__ = count
import {first}
before = set(sys.modules)
from kd_plugins import registry
from mmengine.registry import Registry
own = [value for value in vars(registry).values() if isinstance(value, Registry) and value.scope == 'kd_plugins']
filled = [value.name for value in own if value.module_dict]
print(json.dumps(dict(before=sorted(before), modules=sorted(sys.modules), filled=filled, built=built[0])))
"""


def after_import(first):
    """What a fresh interpreter holds that imported one module and then the registries of this package."""
    command = [sys.executable, '-W', 'ignore', '-c', SCRIPT.format(first=first)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def alone():
    return after_import('sys')


def test_the_package_alone_imports_neither_torch_nor_mmengine():
    program = 'import sys, kd_plugins; print(sorted(name for name in sys.modules if name.startswith("kd_plugins")))'
    program += '; print("torch" in sys.modules, "mmengine" in sys.modules)'
    run = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["['kd_plugins', 'kd_plugins.version']", 'False False']


def test_registries_build_nothing(alone):
    assert alone['filled'] == []
    assert alone['built'] == 0


def test_registries_import_what_every_run_needs_and_no_more(alone):
    assert [name for name in NOT_YET if name in alone['modules']] == []
    own = {name for name in alone['modules'] if name.startswith('kd_plugins')}
    own = {name for name in own if not name.startswith('kd_plugins.checkpoint.')}
    assert own == {
        'kd_plugins',
        'kd_plugins.checkpoint',
        'kd_plugins.durable',
        'kd_plugins.errors',
        'kd_plugins.library_changes',
        'kd_plugins.mmrazor_import',
        'kd_plugins.registry',
        'kd_plugins.version',
    }


@pytest.mark.slow
def test_after_mmpretrain_it_adds_its_own_files_and_safetensors():
    found = after_import('mmpretrain')
    added = {name.partition('.')[0] for name in set(found['modules']) - set(found['before'])}
    assert added <= {'kd_plugins', 'safetensors'}, added


# for tables, charts and reports, or for data sets that a run may not have
FOR_SOME_RUNS = ('IPython', 'jinja2', 'joblib', 'matplotlib', 'onnx', 'pandas', 'scipy', 'sklearn', 'transformers')
CHECK = """
import json, sys
before = set(sys.modules)
from tools import check_config, train
imported = set(sys.modules)
status = check_config.main(['configs/quickstart/kd_vgg_cnn_digits.py'])
print()
print(json.dumps(dict(status=status, imported=sorted(imported), checked=sorted(sys.modules))))
"""


@pytest.fixture(scope='module')
def checked():
    """What a fresh interpreter holds that imported the tools, and then checked a config of the quickstart."""
    command = [sys.executable, '-W', 'ignore', '-c', CHECK]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return json.loads(run.stdout.splitlines()[-1])


def test_tools_import_nothing_of_plotting_tables_and_statistics(checked):
    assert [name for name in FOR_SOME_RUNS if name in checked['imported']] == []


def test_preflight_needs_nothing_of_plotting_tables_and_statistics(checked):
    assert checked['status'] == 0
    assert [name for name in FOR_SOME_RUNS if name in checked['checked']] == []
