"""Configs may import the standard library, wherever Python is installed."""

import copy
import math
import re
from pathlib import Path

import mmengine.config.utils
import pytest
from mmengine.config import Config

import kd_plugins
from kd_plugins.config_file import read_config_file, read_config_text
from kd_plugins.engine.config import load_config

SETTINGS = """
import os, json
import os.path as osp
import xml.etree.ElementTree
from copy import deepcopy
from functools import partial
from math import pi, sqrt
from pathlib import Path
"""
BASE = """
    tau = sqrt(16)
    lr = json.loads('0.5') * pi
    root = osp.join('data', os.environ.get('NO_SUCH_VARIABLE', 'images'))
"""
OWN = """
    def double(x):
        return 2 * x
    model = dict(type='SingleTeacherDistill', tau=double(2), parts=deepcopy([dict(type='A'), (Path('a') / 'b', 1)]))
    work_dir = Path('work_dirs') / 'here'
"""


def lines(text):
    return re.sub('^    ', '', text, flags=re.MULTILINE)


@pytest.fixture(autouse=True)
def _virtual_environment(monkeypatch):
    """Python's own library lies elsewhere than the interpreter, which this interpreter may not be."""
    monkeypatch.setattr(mmengine.config.utils, 'PYTHON_ROOT_DIR', '/nowhere')
    monkeypatch.setattr(mmengine.config.utils, 'SYSTEM_PYTHON_PREFIX', '/nowhere')


@pytest.fixture(params=['text', 'pure'])
def path(request, tmp_path):
    """A config that uses the standard library and inherits from one that does: a text config, or a pure-Python one."""
    imports = SETTINGS.replace('os, json', 'os\nimport json')
    (tmp_path / 'of_base.py').write_text(imports + lines(BASE))
    inherit = "_base_ = ['./of_base.py']\n"
    if request.param == 'pure':
        inherit = 'from mmengine.config import read_base\nwith read_base():\n    from .of_base import *\n'
    path = tmp_path / 'config.py'
    path.write_text(imports + inherit + lines(OWN))
    return path


def test_settings_are_read_and_nothing_else(path):
    config = read_config_file(path)
    assert config.root == 'data/images'
    assert config.lr == pytest.approx(math.pi / 2)
    assert config.model.tau == config.tau == 4
    assert config.model.parts == [dict(type='A'), ('a/b', 1)]
    assert config.work_dir == 'work_dirs/here'
    # a text config cannot tell a number that it imported from one of its own
    assert set(config._cfg_dict) - {'pi'} == {'tau', 'lr', 'root', 'model', 'work_dir'}


def test_the_config_can_be_copied_and_dumped(path, tmp_path):
    config = load_config(path)
    assert copy.deepcopy(config).model == config.model
    config.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == config.to_dict()


def test_several_modules_on_a_line(tmp_path):
    (tmp_path / 'config.py').write_text("import os, json\nmodel = dict(type='X', depth=json.loads('3'))\n")
    assert read_config_file(tmp_path / 'config.py').model.depth == 3


def test_text_of_a_config():
    assert read_config_text('import json\na = json.loads("[1]")\n').a == [1]


def test_mmengine_is_left_as_it_was(path):
    before = mmengine.config.utils._is_builtin_module
    read_config_file(path)
    with pytest.raises(ZeroDivisionError):
        read_config_text('a = 1 / 0\n')
    assert mmengine.config.utils._is_builtin_module is mmengine.config.config._is_builtin_module is before


def test_other_packages_make_a_config_pure_python(tmp_path):
    (tmp_path / 'config.py').write_text('import os\nfrom torch.optim import SGD\noptimizer = dict(type=SGD)\n')
    assert read_config_file(tmp_path / 'config.py').to_dict() == dict(optimizer=dict(type='torch.optim.SGD'))


def test_all_files_of_the_package_read_configs_here():
    package = Path(kd_plugins.__file__).parent
    reading = re.compile(r'Config\.from(file|string)\(')
    readers = {str(path.relative_to(package)) for path in package.rglob('*.py') if reading.search(path.read_text())}
    assert readers == {'config_file.py'}
