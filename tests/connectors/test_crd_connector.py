import math

import pytest
import torch

from kd_plugins.connectors import CRDConnector
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS


def identity(size):
    connector = CRDConnector(size, size)
    with torch.no_grad():
        connector.linear.weight.copy_(torch.eye(size))
        connector.linear.bias.zero_()
    return connector


def test_numbers_worked_out_by_hand():
    # (3, 4) has length 5, (0, -2) has length 2
    embedding = identity(2)(torch.tensor([[3.0, 4.0], [0.0, -2.0]]))
    assert torch.allclose(embedding, torch.tensor([[0.6, 0.8], [0.0, -1.0]]))


def test_a_map_is_one_vector():
    feature = torch.randn(3, 2, 2, 2)
    assert torch.equal(identity(8)(feature), identity(8)(feature.flatten(1)))


def test_names_of_the_weights_are_those_of_mmrazors_checkpoints():
    assert list(CRDConnector(4, 3).state_dict()) == ['linear.weight', 'linear.bias']


def test_gradient():
    connector = CRDConnector(4, 3).double()
    feature = torch.randn(2, 4, 1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(connector, feature)


def test_an_embedding_of_zeros_stays_zero_without_gradient():
    feature = torch.zeros(2, 4, requires_grad=True)
    embedding = identity(4)(feature)
    embedding.sum().backward()
    assert not embedding.any()
    assert not feature.grad.any()


@pytest.mark.parametrize('scale', [1e4, 1e-4])
def test_huge_and_tiny_features_get_length_one(scale):
    feature = torch.randn(3, 4) * scale
    assert torch.allclose(identity(4)(feature).norm(dim=1), torch.ones(3))


def test_half_precision_does_not_overflow():
    # squares of 300 are beyond float16
    embedding = identity(4).bfloat16()(torch.full((1, 4), 300.0, dtype=torch.bfloat16))
    assert embedding.tolist() == [[0.5] * 4]
    with torch.autocast('cpu', torch.bfloat16):
        assert identity(4)(torch.full((1, 4), 300.0))[0, 0].item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ('shape', 'advice'), [((2, 8), 'write dim_in=8'), ((2, 4, 2, 1), 'write dim_in=8'), ((4,), 'one vector')]
)
def test_other_sizes_are_refused(shape, advice):
    with pytest.raises(UserError, match='feature: expected 4 elements a sample') as caught:
        CRDConnector(4, 3)(torch.zeros(shape))
    assert str(shape) in str(caught.value)
    assert advice in str(caught.value)


def test_is_registered():
    linear = MODELS.build(dict(type='CRDConnector')).linear
    assert (linear.in_features, linear.out_features) == (1024, 128)
    assert math.isclose(linear.weight.std().item(), 1 / math.sqrt(3 * 1024), rel_tol=0.05)
