"""A translated config as a file: short, readable, and the same config when it is read again."""

import pytest
from mmengine.config import Config

from kd_plugins.compat.page import package_bases, run_part, type_first, write_page
from kd_plugins.compat.reading import read_config
from kd_plugins.compat.translate import translate
from kd_plugins.config_text import assign

PAGES = {
    'a dict that the base has': (
        "_base_ = ['mmcls::_base_/schedules/imagenet_bs256.py']\n",
        'optim_wrapper = dict(optimizer=dict(lr=0.2))\n',
        'optim_wrapper = dict(optimizer=dict(lr=0.2))\n',
    ),
    'a dict that the base has otherwise': (
        "_base_ = ['mmcls::_base_/schedules/imagenet_bs256.py']\n",
        "param_scheduler = dict(_delete_=True, type='ConstantLR')\n",
        "param_scheduler = dict(_delete_=True, type='ConstantLR')\n",
    ),
    'a dict where the base has None': (
        "_base_ = ['mmcls::_base_/default_runtime.py']\n",
        "log_level = 'DEBUG'\nload_from = 'x.pth'\n",
        "log_level = 'DEBUG'\n\nload_from = 'x.pth'\n",
    ),
    'what the base says': (
        "_base_ = ['mmcls::_base_/default_runtime.py']\n",
        "log_level = 'INFO'\n",
        '',
    ),
    'helpers of the file': ('', "helper = 3\nwork_dir = f'runs/{helper}'\n", "work_dir = 'runs/3'\n"),
}


@pytest.mark.parametrize(('bases', 'text', 'expected'), PAGES.values(), ids=PAGES)
def test_holds_what_differs_from_the_packages(tmp_path, bases, text, expected):
    source = tmp_path / 'theirs.py'
    source.write_text(bases + text + "model = dict(_scope_='mmrazor', type='SingleTeacherDistill')\n")
    config = translate(read_config(source)[0])[0]
    page = write_page(config, source, ['a note'], 'ours.py')
    expected_model = "model = dict(type='kd_plugins.SingleTeacherDistill')\n"
    body = page.partition('# Result: not measured\n')[2].strip('\n') + '\n'
    parts = [part for part in body.split('\n\n') if not part.startswith('_base_')]
    assert sorted('\n\n'.join(parts).split()) == sorted((expected + expected_model).split())
    out = tmp_path / 'ours.py'
    out.write_text(page)
    assert run_part(Config.fromfile(out)) == run_part(config)
    assert '#   a note\n' in page
    assert '# Launch: python tools/train.py ours.py\n' in page
    assert str(tmp_path) not in page


def test_relative_bases_are_taken_in(tmp_path):
    (tmp_path / 'deep').mkdir()
    (tmp_path / 'first.py').write_text("_base_ = 'mmcls::_base_/default_runtime.py'\na = 1\n")
    (tmp_path / 'second.py').write_text("_base_ = ['mmpretrain::_base_/schedules/imagenet_bs256.py']\nb = 2\n")
    (tmp_path / 'deep' / 'leaf.py').write_text("_base_ = ['../first.py', '../second.py']\n")
    assert package_bases(tmp_path / 'deep' / 'leaf.py') == [
        'mmpretrain::_base_/default_runtime.py',
        'mmpretrain::_base_/schedules/imagenet_bs256.py',
    ]


def test_without_bases_the_page_stands_alone(tmp_path):
    source = tmp_path / 'theirs.py'
    source.write_text("model = dict(_scope_='mmrazor', type='SelfDistill')\n")
    assert package_bases(source) == []
    assert '_base_' not in write_page(translate(read_config(source)[0])[0], source, [], 'ours.py')


def test_what_a_dict_is_comes_first():
    value = dict(b=[dict(a=1, type='Y')], type='X', _delete_=True)
    assert assign('x', type_first(value)) == "x = dict(_delete_=True, type='X', b=[dict(type='Y', a=1)])"
    assert type_first(value) == value
