import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.autograd import Function

from kd_plugins.memory_format import (
    reads_in_order,
    store_channels_last,
    store_contiguous,
    to_channels_last,
    to_contiguous,
    wants_contiguous,
)


def test_weights_of_2d_convolutions_are_laid_out_and_keep_their_values():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 3, 2), nn.Conv3d(3, 4, 3), nn.Linear(4, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = list(model.parameters())
    store_channels_last(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert model[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert model[2].weight.is_contiguous()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    # an optimiser that holds them goes on
    assert all(one is other for one, other in zip(parameters, model.parameters(), strict=True))


def test_what_is_no_batch_of_images_passes():
    images, clip, samples = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5, 6), [torch.randn(3, 4, 5)]
    assert to_channels_last(images).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(to_channels_last(images), images)
    assert to_channels_last(clip) is clip
    assert to_channels_last(samples) is samples


def test_a_batch_laid_out_already_is_not_copied():
    images = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert to_channels_last(images).data_ptr() == images.data_ptr()


class Viewing(nn.Module):
    """Flattens its feature map by ``view``, as VGG's classifier does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.conv(images).view(len(images), -1)


def test_a_model_that_views_its_feature_map():
    model, images = Viewing(), torch.randn(2, 3, 6, 6)
    expected = model(images)
    store_channels_last(model)
    with pytest.raises(RuntimeError) as caught:
        model(to_channels_last(images))
    assert wants_contiguous(caught.value)
    store_contiguous(model)
    assert model.conv.weight.is_contiguous()
    assert torch.equal(model(to_contiguous(to_channels_last(images))), expected)
    assert not wants_contiguous(RuntimeError('out of memory'))


def of_file(kind, name):
    """A class as if it came from a file."""
    return type(kind.__name__, (kind,), {'__module__': name})


class TestOperatorsOfMmcv:
    """They read memory in the order of the shape, whatever the strides say."""

    def test_a_layer_is_found_wherever_it_is(self):
        layer = of_file(nn.Module, 'mmcv.ops.roi_align')
        assert reads_in_order(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ModuleList([layer()])))
        assert reads_in_order(of_file(layer, 'somebody.heads')())

    def test_other_models_have_none(self):
        mine = [of_file(nn.Module, name) for name in ('mmcv.cnn.bricks', 'mmcv.opsy', 'torchvision.ops')]
        assert not reads_in_order(nn.Sequential(nn.Conv2d(3, 4, 3), *(kind() for kind in mine)))

    @pytest.mark.parametrize(
        ('operators', 'found'),
        [('mmcv.ops.deform_conv', True), ('mmcv.ops.focal_loss', False), ('torchvision.ops', False)],
    )
    def test_a_function_is_found_in_the_file_of_a_layer(self, monkeypatch, operators, found):
        heads = ModuleType('somebodys_heads')
        heads.deform_conv2d = of_file(Function, operators).apply
        monkeypatch.setitem(sys.modules, heads.__name__, heads)
        head = of_file(nn.Module, heads.__name__)
        assert reads_in_order(nn.Sequential(head())) == found
        assert reads_in_order(of_file(head, 'another_file')()) == found

    def test_a_layer_that_a_file_names_is_none_that_it_has(self, monkeypatch):
        heads = ModuleType('somebodys_heads')
        heads.DeformConv2d = of_file(nn.Module, 'mmcv.ops.deform_conv')
        monkeypatch.setitem(sys.modules, heads.__name__, heads)
        assert not reads_in_order(of_file(nn.Module, heads.__name__)())


@pytest.mark.skipif(torch.cuda.is_available(), reason='it is the kernel for CPUs')
def test_group_norm_behind_frozen_layers():
    """Which models run contiguous; what happens to others is not tried here."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8))
    assert not reads_in_order(model)
    assert not reads_in_order(model.requires_grad_(False))
    model[1].requires_grad_(True)
    assert reads_in_order(model)
    assert not reads_in_order(nn.Sequential(model[0], nn.BatchNorm2d(8)))
