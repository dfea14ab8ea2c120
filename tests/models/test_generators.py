"""The generators: images, weights' names, noise, messages for bad arguments."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from kd_plugins.errors import UserError
from kd_plugins.models import DAFLGenerator, ZSKTGenerator

SIZES = dict(img_size=8, latent_dim=5, hidden_channels=4)
both = pytest.mark.parametrize('kind', [DAFLGenerator, ZSKTGenerator])


@both
@pytest.mark.parametrize(
    'sizes',
    [SIZES, {**SIZES, 'img_size': 32}, {**SIZES, 'scale_factor': 1}, {**SIZES, 'img_size': 18, 'scale_factor': 3}],
)
def test_images(kind, sizes):
    generator = kind(**sizes)
    pixels = sizes['img_size']
    assert generator.latent_dim == 5
    assert generator(torch.randn(3, 5)).shape == (3, 3, pixels, pixels)
    assert generator(torch.randn(3, 5), 7).shape == (3, 3, pixels, pixels)  # the noise says how many
    assert generator(batch_size=2).shape == (2, 3, pixels, pixels)
    assert generator().shape == (1, 3, pixels, pixels)


@both
def test_built_by_name(kind):
    assert isinstance(MODELS.build(dict(type=f'kd_plugins.{kind.__name__}', **SIZES)), kind)


@pytest.mark.parametrize(
    ('kind', 'names'),
    [
        (DAFLGenerator, 'linear bn1 conv_blocks1.0 conv_blocks1.1 conv_blocks2.0 conv_blocks2.1 conv_blocks2.3'),
        (ZSKTGenerator, 'layers.0 layers.2 layers.4 layers.5 layers.8 layers.9 layers.11 layers.12'),
    ],
)
def test_weights_have_mmrazors_names(kind, names):
    state = kind(**SIZES).state_dict()
    assert list(dict.fromkeys(name.rpartition('.')[0] for name in state if name.endswith('weight'))) == names.split()
    # DAFL's last BatchNorm has statistics alone
    assert ('conv_blocks2.5.running_var' in state) == (kind is DAFLGenerator)
    assert 'conv_blocks2.5.bias' not in state


def test_images_of_dafl_have_the_statistics_of_normalised_ones():
    images = DAFLGenerator(**SIZES)(batch_size=64)
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-2, rtol=0)


@both
def test_epsilon_and_slope_are_used(kind):
    generator = kind(**SIZES, leaky_slope=0.3, **(dict(bn_eps=0.5) if kind is DAFLGenerator else {}))
    norms = [module.eps for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    slopes = [module.negative_slope for module in generator.modules() if isinstance(module, nn.LeakyReLU)]
    assert slopes == [0.3, 0.3]
    # not that of the first BatchNorm, nor that of the images
    assert norms == ([1e-5, 0.5, 0.5, 1e-5] if kind is DAFLGenerator else [1e-5] * 4)


@both
def test_gradient_reaches_noise_and_weights(kind):
    generator = kind(**SIZES)
    noise = torch.randn(4, 5, requires_grad=True)
    generator(noise).square().sigmoid().sum().backward()
    for tensor in (noise, *generator.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@both
def test_noise_is_drawn_where_none_is_given(kind):
    generator = kind(**SIZES).eval()
    torch.manual_seed(7)
    drawn = generator(batch_size=3)
    torch.manual_seed(7)
    torch.testing.assert_close(drawn, generator(torch.randn(3, 5)))
    assert not torch.equal(generator(batch_size=3), drawn)


@both
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_noise_has_the_precision_of_the_weights(kind, dtype):
    images = kind(**SIZES).to(dtype)(batch_size=3)
    assert images.dtype == dtype
    assert images.isfinite().all()


@both
def test_one_image_in_training_is_finite(kind):
    generator = kind(**SIZES)
    for noise in (torch.zeros(1, 5), torch.full((1, 5), 1e4)):
        images = generator(noise)
        images.sum().backward()
        assert images.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in generator.parameters())


@both
@pytest.mark.parametrize(
    ('noise', 'got'),
    [
        (torch.zeros(2, 4), r'\(2, 4\)'),
        (torch.zeros(5), r'\(5,\)'),
        (torch.zeros(2, 5, 1, 1), r'\(2, 5, 1, 1\)'),
        ([0], 'a list'),
    ],
)
def test_noise_of_another_shape(kind, noise, got):
    with pytest.raises(UserError, match=rf'data: expected noise of shape \(N, 5\), got {got}'):
        kind(**SIZES)(noise)


@both
@pytest.mark.parametrize('count', [0, -1, 1.5, True])
def test_batch_size_is_a_whole_number(kind, count):
    with pytest.raises(UserError, match=rf'batch_size: expected a whole number from 1 on, got {count}'):
        kind(**SIZES)(batch_size=count)


@both
@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('img_size', 0, 'a whole number from 1 on'),
        ('img_size', 30, 'a multiple of 4, for it is scaled by 2 twice'),
        ('img_size', (32, 32), 'a whole number from 1 on'),
        ('latent_dim', 0, 'a whole number from 1 on'),
        ('hidden_channels', 1, 'a whole number from 2 on'),
        ('scale_factor', 0, 'a whole number from 1 on'),
        ('scale_factor', 1.5, 'a whole number from 1 on'),
    ],
)
def test_sizes_that_cannot_be(kind, name, value, expected):
    with pytest.raises(UserError, match=f'{name}: expected {expected}, got '):
        kind(**{**SIZES, name: value})
