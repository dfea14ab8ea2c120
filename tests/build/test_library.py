"""Configs that installed packages ship."""

import os

import pytest
from mmengine.config import Config

from kd_plugins.build import library_config_file, read_library_config

RESNET = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'


def test_a_config_is_found_by_the_import_name_of_its_package():
    file = library_config_file(RESNET)
    assert file.parts[-5:] == ('mmpretrain', '.mim', 'configs', 'resnet', 'resnet18_8xb32_in1k.py')
    config = read_library_config(RESNET)
    assert config.model == Config.fromfile(file).model
    assert 'model_path' not in config


@pytest.mark.slow
def test_its_weights_are_those_that_the_package_lists():
    assert read_library_config(RESNET, pretrained=True).model_path.endswith(
        '/resnet18_8xb32_in1k_20210831-fbbb1da6.pth'
    )
    assert 'model_path' not in read_library_config('mmpretrain::_base_/models/resnet18.py', pretrained=True)


@pytest.mark.parametrize('path', ['mmpretrain::resnet/resnet19.py', 'nobody::resnet/resnet18.py'])
def test_what_is_not_there_is_said(path):
    with pytest.raises(FileNotFoundError, match=r'resnet19\.py does not exist|no package nobody'):
        read_library_config(path)


def test_what_is_made_of_a_config_changes_no_later_one():
    changed = read_library_config(RESNET)
    changed.model.backbone.depth = 34
    assert read_library_config(RESNET).model.backbone.depth == 18


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The folder of a package with one config, which is listed."""
    folder = tmp_path / '.mim'
    (folder / 'configs' / 'net').mkdir(parents=True)
    (folder / 'configs' / 'net' / 'a.py').write_text('model = dict(depth=1)\n')
    (folder / 'configs' / 'net' / 'a.yml').write_text(
        'Models:\n- Name: other\n  Config: configs/net/a.py.txt\n- Name: nameless\n'
        '- Name: a\n  Config: configs/net/a.py\n  Weights: first.pth\n'
        '- Name: again\n  Config: configs/net/a.py\n  Weights: second.pth\n'
    )
    (folder / 'model-index.yml').write_text('Import:\n- configs/net/a.yml\n')
    monkeypatch.setattr('kd_plugins.build.library.library_folder', lambda package: folder)
    return folder


def test_a_config_that_was_changed_is_read_again(library):
    assert read_library_config('net::net/a.py').model.depth == 1
    (library / 'configs' / 'net' / 'a.py').write_text('model = dict(depth=2)\n')
    os.utime(library / 'configs' / 'net' / 'a.py', ns=(1, 1))
    assert read_library_config('net::net/a.py').model.depth == 2


def test_the_first_weights_that_are_listed_under_its_whole_name_are_taken(library):
    assert read_library_config('net::net/a.py', pretrained=True).model_path == 'first.pth'


def test_a_config_is_read_once(library, monkeypatch):
    read = []
    monkeypatch.setattr('kd_plugins.build.library.read_config_file', lambda file: read.append(file) or Config(dict()))
    for _ in range(3):
        read_library_config('net::net/a.py')
    assert len(read) == 1
