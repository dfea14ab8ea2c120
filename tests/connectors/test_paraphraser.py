import pytest
import torch
import torch.nn.functional as F

from kd_plugins.connectors import Paraphraser
from kd_plugins.errors import UserError


def slow(state, feature, phase):
    """Three convolutions forth and, to reconstruct, three transposed ones back, each with a leaky ReLU of slope 0.1."""
    for place in (0, 3, 6):
        feature = F.conv2d(feature, state[f'encoder.{place}.weight'], state[f'encoder.{place}.bias'], padding=1)
        feature = torch.where(feature > 0, feature, feature * 0.1)
    for place in (0, 3, 6) if phase == 'pretrain' else ():
        weight = state[f'decoder.{place}.weight'].transpose(0, 1).flip(2, 3)
        feature = F.conv2d(feature, weight, state[f'decoder.{place}.bias'], padding=1)
        feature = torch.where(feature > 0, feature, feature * 0.1)
    return feature


@pytest.mark.parametrize('phase', ['pretrain', 'train'])
@pytest.mark.parametrize('shape', [(2, 6, 5, 7), (1, 6, 1, 1)])
def test_equals_the_slow_way(phase, shape):
    connector, feature = Paraphraser(6, 4, phase).double(), torch.randn(shape).double()
    assert torch.allclose(connector(feature), slow(connector.state_dict(), feature, phase))


def test_it_learns_to_reconstruct():
    connector, feature = Paraphraser(3, 2), torch.rand(4, 3, 4, 4)
    optimizer = torch.optim.Adam(connector.parameters(), 0.01)
    losses = []
    for _ in range(60):
        loss = (connector(feature) - feature).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_gradient_in_pretrain_reaches_all():
    connector, feature = Paraphraser(4, 2, use_bn=True), torch.randn(2, 4, 3, 3, requires_grad=True)
    connector(feature).sum().backward()
    assert feature.grad is not None
    assert all(parameter.grad is not None for parameter in connector.parameters())


def test_in_train_it_is_frozen():
    connector, feature = Paraphraser(4, 2, 'train', use_bn=True), torch.randn(2, 4, 3, 3, requires_grad=True)
    before = {name: tensor.clone() for name, tensor in connector.state_dict().items()}
    assert connector.train() is connector
    assert not any(module.training for module in connector.modules())
    assert not connector(feature).requires_grad
    assert not any(parameter.requires_grad for parameter in connector.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in connector.state_dict().items())


def test_train_and_eval_flip_in_pretrain():
    connector = Paraphraser(4, 2, use_bn=True)
    assert connector.encoder[1].training
    assert not connector.eval().encoder[1].training
    assert connector.train().decoder[1].training


@pytest.mark.parametrize('use_bn', [True, False])
def test_what_was_pretrained_loads_into_train(use_bn):
    pretrained = Paraphraser(4, 2, 'pretrain', use_bn)
    connector = Paraphraser(4, 2, 'train', use_bn)
    connector.load_state_dict(pretrained.state_dict(), strict=True)
    feature = torch.randn(2, 4, 3, 3)
    assert torch.equal(connector(feature), pretrained.eval().encoder(feature))


def test_unknown_phase():
    with pytest.raises(UserError, match="phase: expected one of 'pretrain', 'train', got 'finetune'"):
        Paraphraser(4, 2, 'finetune')
