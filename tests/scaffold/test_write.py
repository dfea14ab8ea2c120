"""A config is written if it passes the preflight, and nothing otherwise."""

from pathlib import Path

import pytest
from mmengine.config import Config

from kd_plugins.errors import UserError
from kd_plugins.scaffold import check_target, write_checked

CONFIGS = Path(__file__).parents[2] / 'configs'
# a config that names its base relative to itself, with a place for the width of the head
CONFIG = """
_base_ = ['base.py']
model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.PlainCNN', stages=((4,), (8,))),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels={width}),
)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
train_cfg = dict(by_epoch=True, max_epochs=1)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'base.py').write_text(f"_base_ = ['{CONFIGS}/_base_/digits.py']\n")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_what_passes(folder):
    text = CONFIG.format(width=8)
    findings = write_checked(folder / 'new.py', text)
    assert findings.faults == []
    assert (folder / 'new.py').read_text() == text
    assert names(folder) == ['base.py', 'new.py']
    assert Config.fromfile(folder / 'new.py').model.head.in_channels == 8


def test_writes_nothing_that_does_not(folder):
    with pytest.raises(UserError, match='model'):
        write_checked(folder / 'new.py', CONFIG.format(width=9))
    assert names(folder) == ['base.py']


def test_leaves_no_draft_after_an_exception(folder):
    with pytest.raises(FileNotFoundError):
        write_checked(folder / 'new.py', "_base_ = ['none.py']\n")
    assert names(folder) == ['base.py']


def test_never_overwrites(folder):
    (folder / 'new.py').write_text('mine')
    with pytest.raises(UserError, match='a file that does not exist yet'):
        write_checked(folder / 'new.py', CONFIG.format(width=8))
    assert (folder / 'new.py').read_text() == 'mine'


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('base.py', 'a file that does not exist yet'),
        ('config.txt', 'a name.py without other dots, as mmengine reads it'),
        ('config', 'a name.py without other dots, as mmengine reads it'),
        ('regnetx-1.6gf.py', 'a name.py without other dots, as mmengine reads it'),
        ('none/config.py', 'a file in a folder that exists'),
    ],
)
def test_refuses_a_file(folder, name, expected):
    with pytest.raises(UserError) as refusal:
        check_target(folder / name)
    (fault,) = refusal.value.faults
    assert (fault.where, fault.expected, fault.got) == ('-o', expected, str(folder / name))
    assert names(folder) == ['base.py']
