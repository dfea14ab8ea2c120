import math

import pytest
import torch

from kd_plugins.build import build_component
from kd_plugins.connectors import ResizeConnector
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS

MAP = torch.tensor([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]])


def slow_average(feature, size):
    """Every outgoing position is the mean of the incoming ones that it covers, even in part."""
    height, width = feature.shape[2:]
    out = torch.empty(*feature.shape[:2], *size)
    for y in range(size[0]):
        for x in range(size[1]):
            top, bottom = y * height // size[0], math.ceil((y + 1) * height / size[0])
            left, right = x * width // size[1], math.ceil((x + 1) * width / size[1])
            out[:, :, y, x] = feature[:, :, top:bottom, left:right].mean(dim=(2, 3))
    return out


def slow_bilinear(feature, size):
    """Every outgoing position's centre, between the centres of the four incoming ones around it."""
    out = torch.zeros(*feature.shape[:2], *size)
    for y in range(size[0]):
        for x in range(size[1]):
            for row, row_weight in neighbours(y, feature.shape[2], size[0]):
                for column, column_weight in neighbours(x, feature.shape[3], size[1]):
                    out[:, :, y, x] += row_weight * column_weight * feature[:, :, row, column]
    return out


def neighbours(place, count, new_count):
    centre = min(max((place + 0.5) * count / new_count - 0.5, 0), count - 1)
    below = int(centre)
    return [(below, 1 - (centre - below)), (min(below + 1, count - 1), centre - below)]


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        # means of 2 x 2
        ((1, 2), [[[[3.5, 5.5]]]]),
        # means of the columns, then of two neighbours each: the second covers half of columns 1 and 2, so both
        ((1, 3), [[[[3.5, 4.5, 5.5]]]]),
        ((1, 1), [[[[4.5]]]]),
        # the centres of four rows lie 1/4 and 3/4 on the way from row to row, the outer ones beyond
        ((4, 1), [[[[2.5], [3.5], [5.5], [6.5]]]]),
    ],
)
def test_numbers_worked_out_by_hand(size, expected):
    assert ResizeConnector(size)(MAP).tolist() == expected


@pytest.mark.parametrize('size', [(7, 7), (1, 1), (4, 3), (2, 7), (3, 13), (14, 12)])
def test_shrinking_averages(size):
    feature = torch.randn(2, 3, 14, 14)
    assert torch.allclose(ResizeConnector(size)(feature), slow_average(feature, size), atol=1e-6)


@pytest.mark.parametrize('size', [(7, 7), (3, 5), (14, 4), (3, 4)])
def test_growing_is_bilinear(size):
    feature = torch.randn(2, 3, 3, 4)
    assert torch.allclose(ResizeConnector(size)(feature), slow_bilinear(feature, size), atol=1e-6)


def test_a_side_that_shrinks_is_averaged_though_the_other_one_grows():
    feature = torch.randn(2, 3, 6, 3)
    expected = slow_bilinear(slow_average(feature, (2, 3)), (2, 7))
    assert torch.allclose(ResizeConnector((2, 7))(feature), expected, atol=1e-6)


def test_equal_size_passes_as_it_is():
    assert ResizeConnector((2, 4))(MAP) is MAP


def test_modes():
    assert ResizeConnector((2, 8), mode='nearest')(MAP)[0, 0, 0].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert ResizeConnector((4, 8), mode='bicubic')(MAP).shape == (1, 1, 4, 8)


@pytest.mark.parametrize('size', [(2, 2), (3, 5), (9, 9), (2, 9)])
def test_every_position_gets_a_gradient(size):
    feature = torch.randn(2, 3, 6, 6, requires_grad=True)
    ResizeConnector(size)(feature).sum().backward()
    assert (feature.grad > 0).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('size', [(2, 2), (3, 5), (9, 9)])
def test_half_precision(size, dtype):
    feature = torch.randn(2, 3, 6, 6)
    output = ResizeConnector(size)(feature.to(dtype))
    assert output.dtype == dtype
    assert torch.allclose(output.float(), ResizeConnector(size)(feature), atol=0.05)


def test_an_empty_batch_passes():
    assert [ResizeConnector(size)(torch.rand(0, 3, 6, 6)).shape for size in ((2, 2), (4, 4), (9, 9))] == [
        (0, 3, 2, 2),
        (0, 3, 4, 4),
        (0, 3, 9, 9),
    ]


def test_it_has_no_weights_and_takes_a_list_as_a_config_has_it():
    connector = build_component(MODELS, dict(type='ResizeConnector', size=[7, 7]), 'here')
    assert not connector.state_dict()
    assert repr(connector) == "ResizeConnector(size=(7, 7), mode='bilinear')"
    connector.init_weights()


@pytest.mark.parametrize('size', [7, (7,), (7, 7, 7), (0, 7), (7, -1), (7.0, 7), '77', None])
def test_bad_size(size):
    with pytest.raises(UserError, match='size: expected a height and a width'):
        ResizeConnector(size)


def test_bad_mode():
    with pytest.raises(UserError, match="mode: expected one of 'nearest', 'bilinear', 'bicubic', got 'linear'"):
        ResizeConnector((7, 7), mode='linear')


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 4), (2, 3, 4, 4, 4)])
def test_bad_rank(shape):
    with pytest.raises(UserError, match='feature: expected a map') as caught:
        ResizeConnector((2, 2))(torch.rand(shape))
    assert str(shape) in str(caught.value)
