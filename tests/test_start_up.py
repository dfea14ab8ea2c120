"""``import kd_plugins`` builds nothing, and loads nothing that mmpretrain would not load anyway."""

import json
import subprocess
import sys

import pytest

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
import kd_plugins
from kd_plugins import registry
from mmengine.registry import Registry
own = [value for value in vars(registry).values() if isinstance(value, Registry) and value.scope == 'kd_plugins']
filled = [value.name for value in own if value.module_dict]
print(json.dumps(dict(before=sorted(before), modules=sorted(sys.modules), filled=filled, built=built[0])))
"""


def after_import(first):
    """What a fresh interpreter holds that imported one module and then this package."""
    command = [sys.executable, '-W', 'ignore', '-c', SCRIPT.format(first=first)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def alone():
    return after_import('sys')


def test_builds_nothing(alone):
    assert alone['filled'] == []
    assert alone['built'] == 0


def test_imports_what_every_run_needs_and_no_more(alone):
    assert [name for name in NOT_YET if name in alone['modules']] == []
    own = {name for name in alone['modules'] if name.startswith('kd_plugins')}
    own = {name for name in own if not name.startswith('kd_plugins.checkpoint.')}
    assert own == {
        'kd_plugins',
        'kd_plugins.checkpoint',
        'kd_plugins.compat',
        'kd_plugins.compat.bridge',
        'kd_plugins.durable',
        'kd_plugins.errors',
        'kd_plugins.registry',
        'kd_plugins.stack',
        'kd_plugins.version',
    }


@pytest.mark.slow
def test_after_mmpretrain_it_adds_its_own_files_and_safetensors():
    found = after_import('mmpretrain')
    added = {name.partition('.')[0] for name in set(found['modules']) - set(found['before'])}
    assert added <= {'kd_plugins', 'safetensors'}, added
