import pytest
import torch
from torch import nn

from kd_plugins.memory_format import (
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
