"""Which axes of a record can be those of the image, and which are."""

import pytest

from kd_plugins.connectors.layout import changed_axes, describe_axes, possible_axes


@pytest.mark.parametrize(
    ('shape', 'image', 'axes'),
    [
        ((2, 512, 7, 7), (224, 224), [(2, 3)]),
        ((2, 7, 7, 768), (224, 224), [(1, 2)]),
        ((2, 8, 8, 8), (32, 32), [(2, 3), (1, 2)]),
        ((2, 256, 25, 42), (800, 1333), [(2, 3)]),
        ((2, 25, 42, 256), (800, 1333), [(1, 2)]),
        ((2, 512, 1, 1), (224, 224), [(2, 3)]),
        ((2, 3, 9, 4), (224, 224), []),
        ((2, 197, 768), (224, 224), [(1,)]),
        ((2, 201, 384), (224, 224), [(1,)]),  # a class token and four registers
        ((2, 768, 196), (224, 224), [(2,)]),
        ((2, 196, 576), (224, 224), [(1,), (2,)]),
        ((2, 63, 6), (8, 8), []),
    ],
)
def test_possible_axes(shape, image, axes):
    assert possible_axes(shape, image) == axes


def test_changed_axes():
    assert changed_axes((2, 8, 8, 8), (2, 8, 16, 16)) == (2, 3)
    assert changed_axes((2, 196, 576), (2, 784, 576)) == (1,)
    assert changed_axes((2, 8, 8, 8), (2, 8, 8, 8)) == ()
    assert changed_axes((2, 8, 8, 8), (2, 64, 8)) == ()


def test_layouts_have_the_names_of_the_field():
    assert describe_axes((2, 3), 4) == '(N, C, H, W)'
    assert describe_axes((1, 2), 4) == '(N, H, W, C)'
    assert describe_axes((2,), 3) == '(N, C, L)'
