"""A fingerprint changes with what it stands for, and with nothing else."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kd_plugins.teacher.cache import describe_plainly, differences, digest_of_tensors, shorten


def tensors(**changes):
    return {'a': torch.arange(24.0).reshape(1, 2, 3, 4), 'b': torch.tensor(3), **changes}.items()


@pytest.mark.parametrize(
    'changed',
    [
        dict(b=torch.tensor(4)),
        dict(b=torch.tensor([3])),
        dict(b=torch.tensor(3, dtype=torch.int32)),
        dict(a=torch.arange(24.0).reshape(1, 3, 2, 4)),
        dict(c=torch.tensor(0)),
    ],
)
def test_every_change_of_a_tensor_is_seen(changed):
    assert digest_of_tensors(tensors()) != digest_of_tensors(tensors(**changed))


def test_the_layout_in_memory_does_not_matter():
    moved = dict(tensors())['a'].contiguous(memory_format=torch.channels_last)
    assert moved.stride() != dict(tensors())['a'].stride()
    assert digest_of_tensors(tensors()) == digest_of_tensors(tensors(a=moved))


def test_a_config_is_described_without_addresses():
    found = describe_plainly(
        dict(a=(1, None), kind=nn.ReLU, path=Path('x/y'), thing=object(), call=functools.partial(int), array=np.ones(2))
    )
    assert found['a'] == [1, None]
    assert found['kind'] == 'torch.nn.modules.activation.ReLU'
    assert found['path'] == 'x/y'
    assert found['thing'] == 'builtins.object'
    assert '0x' not in repr(found)
    assert found['array'] != describe_plainly(np.zeros(2))


def test_differences_name_their_place():
    cached = dict(versions=dict(torch='1', numpy='2'), pipeline=[[dict(type='A', size=8)]], pixels='x')
    current = dict(versions=dict(torch='3', numpy='2'), pipeline=[[dict(type='A', size=9, new=1)]], pixels='y')
    assert differences(cached, current) == [
        ('versions: torch', '1', '3'),
        ('pipeline: 0.0.size', '8', '9'),
        ('pipeline: 0.0.new', 'nothing', '1'),
    ]
    # other pixels are news where nothing explains them
    assert differences(cached, {**cached, 'pixels': 'y'}) == [('pixels', 'x', 'y')]
    assert differences(cached, {**cached, 'versions': '', 'pixels': 'y'})[-1] == ('pixels', 'x', 'y')
    assert differences(dict(a=[1, 2]), dict(a=[1])) == [('a', '[1, 2]', '[1]')]
    assert differences(cached, cached) == differences(cached, {}) == []


def test_many_differences_are_counted():
    found = differences(dict(a=dict.fromkeys('uvwxyz', 1)), dict(a=dict.fromkeys('uvwxyz', 2)))
    assert [part for part, *_ in found] == ['a: u', 'a: v', 'a: w', 'a']
    assert found[-1][1] == '6 values'


def test_digests_are_shown_by_their_first_digits():
    assert shorten({'teacher': 'Net ' + '0123456789abcdef' * 4}) == "{'teacher': 'Net 0123456789ab…'}"
    assert len(shorten('x' * 999)) == 201
