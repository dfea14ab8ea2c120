"""Configs that installed packages ship."""

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
