import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from kd_plugins.connectors import (
    ConvModuleConnector,
    LinearConnector,
    ResizeConnector,
    channels_of,
    choose_connectors,
    complete_channels,
    missing_channels,
)
from kd_plugins.errors import UserError


def linear(in_channel, out_channel):
    return dict(type='kd_plugins.LinearConnector', in_channel=in_channel, out_channel=out_channel)


def conv(in_channel, out_channel):
    return dict(type='kd_plugins.ConvModuleConnector', in_channel=in_channel, out_channel=out_channel, act_cfg=None)


def resize(*size):
    return dict(type='kd_plugins.ResizeConnector', size=size)


def to_map(*size, extra=0):
    return dict(type='kd_plugins.TokensToMapConnector', size=size, extra_tokens=extra)


def through(configs, shape):
    """Shape of what the connectors of the configs return, and whether it depends on what they were given."""
    module = nn.Sequential(*(MODELS.build(config) for config in configs))
    feature = torch.randn(shape, requires_grad=True)
    output = module(feature)
    output.square().sum().backward()
    return tuple(output.shape), bool(feature.grad.abs().sum() > 0)


CASES = [
    # nothing to do
    ((2, 10), (2, 10), None, [], []),
    ((2, 512, 7, 7), (2, 512, 7, 7), None, [], []),
    ((2, 197, 768), (2, 197, 768), (224, 224), [], []),
    ((2, 3, 4, 5, 6), (2, 3, 4, 5, 6), None, [], []),
    # vectors
    ((2, 512), (2, 2048), None, [linear(512, 2048)], []),
    # maps: channels, size, both
    ((2, 256, 14, 14), (2, 1024, 14, 14), None, [conv(256, 1024)], []),
    ((2, 256, 14, 14), (2, 256, 7, 7), None, [resize(7, 7)], []),
    ((2, 256, 14, 14), (2, 1024, 7, 7), None, [resize(7, 7), conv(256, 1024)], []),
    ((2, 256, 7, 7), (2, 1024, 14, 14), None, [conv(256, 1024), resize(14, 14)], []),
    ((2, 64, 8, 16), (2, 32, 4, 20), (256, 512), [resize(4, 20), conv(64, 32)], []),
    ((2, 64, 1, 1), (2, 32, 7, 7), None, [conv(64, 32), resize(7, 7)], []),
    ((2, 64, 7, 7), (2, 64, 1, 1), None, [resize(1, 1)], []),
    # tokens of the same number
    ((2, 197, 192), (2, 197, 768), (224, 224), [linear(192, 768)], []),
    ((2, 77, 192), (2, 77, 768), (224, 224), [linear(192, 768)], []),
    # a DeiT student and a ViT-B/16 teacher
    (
        (2, 198, 192),
        (2, 197, 768),
        (224, 224),
        [to_map(14, 14, extra=2), conv(192, 768)],
        [to_map(14, 14, extra=1)],
    ),
    ((2, 198, 768), (2, 197, 768), (224, 224), [to_map(14, 14, extra=2)], [to_map(14, 14, extra=1)]),
    # a Swin student and a ViT-B/16 teacher
    ((2, 49, 768), (2, 197, 768), (224, 224), [to_map(7, 7), resize(14, 14)], [to_map(14, 14, extra=1)]),
    # a ResNet-18 student and a ViT-B/16 teacher
    ((2, 512, 7, 7), (2, 197, 768), (224, 224), [conv(512, 768), resize(14, 14)], [to_map(14, 14, extra=1)]),
    ((2, 256, 14, 14), (2, 197, 768), None, [conv(256, 768)], [to_map(14, 14, extra=1)]),
    # a ViT student and a ResNet-50 teacher
    (
        (2, 197, 192),
        (2, 2048, 7, 7),
        (224, 224),
        [to_map(14, 14, extra=1), resize(7, 7), conv(192, 2048)],
        [],
    ),
    # Swin's stages as students
    ((2, 49, 768), (2, 2048, 7, 7), (224, 224), [to_map(7, 7), conv(768, 2048)], []),
    ((2, 3136, 96), (2, 96, 56, 56), (224, 224), [to_map(56, 56)], []),
    # images that are not square: patches of 16, then of 32, the last one padded, then dropped
    ((2, 513, 8), (2, 8, 16, 32), (256, 512), [to_map(16, 32, extra=1)], []),
    ((2, 512, 8), (2, 8, 32, 16), (512, 256), [to_map(32, 16)], []),
    ((2, 25 * 42 + 1, 8), (2, 8, 25, 42), (800, 1333), [to_map(25, 42, extra=1)], []),
    ((2, 25 * 41 + 2, 8), (2, 8, 25, 41), (800, 1333), [to_map(25, 41, extra=2)], []),
    # one place: alone, after a class token, after two extra ones
    ((2, 1, 8), (2, 8, 1, 1), None, [to_map(1, 1)], []),
    ((2, 2, 8), (2, 8, 1, 1), None, [to_map(1, 1, extra=1)], []),
    ((2, 3, 8), (2, 8, 1, 1), None, [to_map(1, 1, extra=2)], []),
    ((2, 4, 8), (2, 8, 2, 2), None, [to_map(2, 2)], []),
    ((2, 5, 8), (2, 8, 2, 2), None, [to_map(2, 2, extra=1)], []),
    ((2, 2, 8), (2, 8, 1, 2), (224, 448), [to_map(1, 2)], []),
    ((2, 3, 8), (2, 8, 1, 2), (224, 448), [to_map(1, 2, extra=1)], []),
]


@pytest.mark.parametrize(('student', 'teacher', 'image', 'student_side', 'teacher_side'), CASES)
def test_choice(student, teacher, image, student_side, teacher_side):
    chosen = choose_connectors(student, teacher, image)
    assert chosen == (student_side, teacher_side)
    outcomes = [through(configs, shape) for configs, shape in zip(chosen, (student, teacher), strict=True)]
    assert outcomes[0][0] == outcomes[1][0]
    assert outcomes[0][1]


@pytest.mark.parametrize(
    'image', [(224, 224), (384, 384), (256, 192), (512, 1024), (480, 640), (769, 769), (600, 1000)]
)
@pytest.mark.parametrize('patch', [8, 14, 16, 32])
@pytest.mark.parametrize('rounding', [math.floor, math.ceil])
@pytest.mark.parametrize('extra', [0, 1, 2])
def test_the_grid_of_patches_is_found(image, patch, rounding, extra):
    size = tuple(rounding(side / patch) for side in image)
    student_side, _ = choose_connectors((2, extra + size[0] * size[1], 8), (2, 8, *size), image)
    assert student_side == [to_map(*size, extra=extra)]


def test_the_convolution_is_linear():
    ((config,), _) = choose_connectors((2, 4, 3, 3), (2, 6, 3, 3), None)
    module = MODELS.build(config).conv_module
    assert not module.with_activation
    assert module.norm is None
    assert (module(torch.randn(8, 4, 3, 3)) < 0).any()


@pytest.mark.parametrize(
    ('student', 'teacher', 'image', 'advice'),
    [
        # a map and a vector, either way
        ((2, 512), (2, 2048, 7, 7), None, 'neck.gap'),
        ((2, 2048, 7, 7), (2, 512), None, 'neck.gap'),
        ((2, 197, 768), (2, 768), None, 'ModuleInputs'),
        ((4, 512, 7, 7), (2, 512, 7, 7), None, 'batch sizes'),
        ((2, 10), (4, 10), None, 'batch sizes'),
        # windows of Swin
        ((128, 49, 96), (2, 96, 56, 56), None, 'window'),
        ((2, 77, 768), (2, 768, 7, 7), None, '77 tokens are no grid over square images with 0 to 2 extra tokens'),
        ((2, 768, 7, 7), (2, 77, 768), (224, 224), '77 tokens are no grid over images of 224 x 224 pixels'),
        ((2, 197, 768), (2, 98, 768), (224, 224), '98 tokens'),
        ((2, 197, 768), (2, 768, 14, 14), (224, 448), '197 tokens'),
        ((2, 0, 768), (2, 768, 7, 7), None, '0 tokens'),
        ((2,), (2, 10), None, 'record vectors'),
        ((), (2, 10), None, 'record vectors'),
        ((2, 3, 4, 4, 4), (2, 5, 4, 4), None, 'record vectors'),
        ((2, 3, 4, 4, 4), (2, 5, 2, 4, 4), None, 'frames, heights or widths differ'),
    ],
)
def test_refusals(student, teacher, image, advice):
    with pytest.raises(UserError) as caught:
        choose_connectors(student, teacher, image)
    (fault,) = caught.value.faults
    assert fault.where == ''
    assert fault.expected == 'two records that connectors can make equal in shape'
    assert fault.got == f'{student} (student) and {teacher} (teacher)'
    assert advice in fault.advice


sides = st.integers(1, 9)
channels = st.integers(1, 6)
sizes = st.tuples(sides, sides)


@st.composite
def pairs(draw):
    """Two shapes of one batch, where tokens mostly come from images of the third value's shape."""
    image = draw(st.none() | st.tuples(st.integers(8, 64), st.integers(8, 64)))
    batch = draw(st.integers(1, 3))

    def shape():
        kind = draw(st.sampled_from(['vector', 'map', 'tokens', 'patches', 'patches']))
        if kind == 'vector':
            return batch, draw(channels)
        if kind == 'map':
            return batch, draw(channels), *draw(sizes)
        if kind == 'tokens':
            return batch, draw(st.integers(1, 40)), draw(channels)
        patch = draw(st.integers(8, 16))
        height, width = (max(1, side // patch) for side in image or (64, 64))
        return batch, height * width + draw(st.integers(0, 2)), draw(channels)

    return shape(), shape(), image


@settings(max_examples=300, deadline=None, derandomize=True)
@given(pairs())
def test_what_is_chosen_makes_the_shapes_equal(pair):
    student, teacher, image = pair
    try:
        student_side, teacher_side = choose_connectors(student, teacher, image)
    except UserError:
        assume(False)
    outcomes = [through(student_side, student), through(teacher_side, teacher)]
    assert outcomes[0][0] == outcomes[1][0]
    assert outcomes[0][1]
    assert not any(MODELS.build(config).state_dict() for config in teacher_side)
    if len(student) == len(teacher) == 4:
        assert outcomes[1][0] == teacher
    assert (not student_side and not teacher_side) == (student == teacher)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 3), channels, sizes, channels, sizes)
def test_two_maps_of_one_batch_are_never_refused(batch, s_channels, s_size, t_channels, t_size):
    student_side, teacher_side = choose_connectors((batch, s_channels, *s_size), (batch, t_channels, *t_size), None)
    assert teacher_side == []
    assert len(student_side) == (s_channels != t_channels) + (s_size != t_size)


@pytest.mark.parametrize(
    ('shape', 'expected'),
    [((2, 10), 10), ((2, 197, 768), 768), ((2, 512, 7, 7), 512), ((2, 16, 4, 7, 7), 16)],
)
def test_channels_of(shape, expected):
    assert channels_of(shape) == expected


@pytest.mark.parametrize('shape', [(), (2,), (2, 3, 4, 5, 6, 7)])
def test_channels_of_other_ranks(shape):
    with pytest.raises(UserError, match='expected a record of rank 2 to 5'):
        channels_of(shape)


class Users(nn.Module):
    def __init__(self, in_features, hidden, out_features=7):
        super().__init__()


class Torchs(BaseModule):
    def __init__(self, student_channels, teacher_channels, init_cfg=None):
        super().__init__(init_cfg)


class WithKeywords(nn.Module):
    def __init__(self, *, dim_in, dim_out, **kwargs):
        super().__init__()


class OurSubclass(ConvModuleConnector):
    """As one in kd_plugins would be: what it does not know goes to its base class."""

    __module__ = 'kd_plugins.connectors.some'

    def __init__(self, factor: int = 2, **kwargs) -> None:
        super().__init__(**kwargs)


@pytest.mark.parametrize(
    ('component', 'arguments', 'missing'),
    [
        (ConvModuleConnector, {}, ['in_channel', 'out_channel']),
        (ConvModuleConnector, dict(kernel_size=3, in_channel=8), ['out_channel']),
        (LinearConnector, dict(in_channel=8, out_channel=4), []),
        (ResizeConnector, {}, []),
        # a count with a default is left alone, and so is what is no count of channels
        (Users, {}, ['in_features']),
        (Torchs, {}, ['student_channels', 'teacher_channels']),
        (WithKeywords, {}, ['dim_in', 'dim_out']),
        (OurSubclass, {}, ['in_channel', 'out_channel']),
        (nn.Conv2d, dict(kernel_size=1), ['in_channels', 'out_channels']),
        (nn.Linear, {}, ['in_features', 'out_features']),
        (nn.ReLU, {}, []),
    ],
)
def test_channels_are_completed(component, arguments, missing):
    assert missing_channels(component, arguments) == missing
    before = dict(arguments)
    completed = complete_channels(component, arguments, 8, 4)
    expected = {name: 4 if 'out' in name or 'teacher' in name else 8 for name in missing}
    assert completed == {**arguments, **expected}
    assert arguments == before
    without = complete_channels(component, arguments, 8, None)
    assert without == {**arguments, **{name: count for name, count in expected.items() if count == 8}}


def test_completed_arguments_build():
    connector = ConvModuleConnector(**complete_channels(ConvModuleConnector, dict(kernel_size=3), 8, 4))
    assert connector(torch.rand(2, 8, 5, 5)).shape == (2, 4, 3, 3)


def test_volumes_of_one_size():
    own, theirs = choose_connectors((2, 3, 4, 4, 4), (2, 5, 4, 4, 4), None)
    assert theirs == []
    (config,) = own
    assert config == dict(
        type='kd_plugins.ConvModuleConnector',
        in_channel=3,
        out_channel=5,
        act_cfg=None,
        conv_cfg=dict(type='Conv3d'),
    )
    assert MODELS.build(config)(torch.rand(2, 3, 4, 4, 4)).shape == (2, 5, 4, 4, 4)
