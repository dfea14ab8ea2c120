import pytest
import torch

from kd_plugins.connectors import NormConnector
from kd_plugins.errors import UserError


def test_numbers_worked_out_by_hand():
    connector = NormConnector(1, dict(type='BN'))
    # mean 3 and standard deviation 2
    output = connector(torch.tensor([1.0, 5.0]).view(2, 1, 1, 1))
    assert output.flatten().tolist() == pytest.approx([-1.0, 1.0], rel=1e-5)


@pytest.mark.parametrize(
    ('norm_cfg', 'shape', 'norm'),
    [
        (dict(type='BN'), (2, 4, 3, 3), torch.nn.BatchNorm2d),
        (dict(type='BN1d'), (2, 4, 3), torch.nn.BatchNorm1d),
        (dict(type='BN3d'), (2, 4, 2, 3, 3), torch.nn.BatchNorm3d),
        (dict(type='GN', num_groups=2), (2, 4, 3, 3), torch.nn.GroupNorm),
        (dict(type='IN'), (2, 4, 3, 3), torch.nn.InstanceNorm2d),
        (dict(type='LN'), (2, 7, 4), torch.nn.LayerNorm),
    ],
)
def test_norms(norm_cfg, shape, norm):
    connector = NormConnector(4, norm_cfg)
    assert isinstance(connector.norm, norm)
    feature = torch.randn(shape, requires_grad=True)
    output = connector(feature)
    assert output.shape == shape
    output.square().sum().backward()
    assert feature.grad.isfinite().all()


def test_a_constant_channel_becomes_zero():
    output = NormConnector(2, dict(type='BN'))(torch.full((2, 2, 3, 3), 7.0))
    assert torch.allclose(output, torch.zeros(2, 2, 3, 3), atol=1e-3)


def test_another_number_of_channels():
    with pytest.raises(UserError) as caught:
        NormConnector(8, dict(type='BN'))(torch.rand(2, 4, 3, 3))
    assert 'feature: expected a record of 8 channels, got (2, 4, 3, 3); correct in_channels' in str(caught.value)


def test_group_norm_gets_a_teachers_record_in_the_order_of_its_shape():
    connector = NormConnector(4, dict(type='GN', num_groups=2))
    seen = []
    connector.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    record = torch.rand(2, 4, 3, 3).to(memory_format=torch.channels_last)
    with torch.no_grad():
        connector(record)
        connector(record.requires_grad_())
    assert seen == [True, False]
