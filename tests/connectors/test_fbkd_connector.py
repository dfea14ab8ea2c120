import math

import pytest
import torch

from kd_plugins.build import build_component
from kd_plugins.connectors import FBKDStudentConnector, FBKDTeacherConnector
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS

SIDES = [FBKDStudentConnector, FBKDTeacherConnector]
MODES = ['gaussian', 'embedded_gaussian', 'dot_product', 'concatenation']


def non_local(connector):
    (block,) = (module for name, module in connector.named_children() if name.endswith('non_local'))
    return block


@pytest.mark.parametrize('side', SIDES)
def test_masks_worked_out_by_hand(side):
    # two channels of two positions: |F| averages over channels to 1, 2 and over positions to 0.5, 2.5
    feature = torch.tensor([[[[1.0, 0.0]], [[-1.0, 4.0]]]])
    spatial, channel = side(2, spatial_T=1.0, channel_T=2.0)(feature.repeat(2, 1, 1, 1))[:2]
    weight = 1 / (1 + math.e)  # of logits one apart, the lesser
    assert torch.allclose(spatial[0].flatten(), 2 * torch.tensor([weight, 1 - weight]))
    assert torch.allclose(channel[0].flatten(), 2 * torch.tensor([weight, 1 - weight]))
    assert spatial.shape == (2, 1, 1, 2)
    assert channel.shape == (2, 2, 1, 1)


def test_the_students_other_parts_are_its_averages_and_map_adapted():
    connector = FBKDStudentConnector(3)
    feature = torch.randn(2, 3, 4, 5)
    _, _, channel_pool, spatial_pool, relation, adapted = connector(feature)
    assert torch.allclose(channel_pool, connector.channel_wise_adaptation(feature.mean((2, 3))))
    assert torch.allclose(spatial_pool, connector.spatial_wise_adaptation(feature.mean(1, keepdim=True)))
    assert torch.equal(adapted, connector.adaptation_layers(feature))
    # the block begins as identity
    assert torch.allclose(relation, connector.non_local_adaptation(feature))


def test_the_teachers_other_parts_are_its_average_its_relations_and_itself():
    feature = torch.randn(2, 3, 4, 5)
    _, _, spatial_pool, relation, itself = FBKDTeacherConnector(3)(feature)
    assert torch.allclose(spatial_pool, feature.mean(1, keepdim=True))
    assert torch.equal(relation, feature)
    assert itself is feature


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('sub_sample', [False, True])
@pytest.mark.parametrize('side', SIDES)
def test_gradient_reaches_the_map_and_every_weight(side, sub_sample, mode):
    connector = side(4, mode=mode, sub_sample=sub_sample, zeros_init=False)
    feature = torch.randn(2, 4, 8, 8, requires_grad=True)
    sum(part.sin().sum() for part in connector(feature)).backward()
    assert feature.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in connector.parameters())
    if mode == 'concatenation':
        assert non_local(connector).concat_project.conv.weight.grad.any()


def test_concatenation_is_the_projection_of_both_vectors():
    # one position at a time: relu(w · (theta_i, phi_j)) / number of positions
    block = non_local(FBKDTeacherConnector(4, mode='concatenation'))
    theta, phi = torch.randn(2, 2, 3, 1), torch.randn(2, 2, 1, 5)
    weight = block.concat_project.conv.weight.flatten()
    pairs = block.concatenation(theta, phi)
    assert pairs.shape == (2, 3, 5)
    for i in range(3):
        for j in range(5):
            stacked = torch.cat([theta[1, :, i, 0], phi[1, :, 0, j]])
            assert pairs[1, i, j].item() == pytest.approx(max((weight * stacked).sum().item(), 0) / 5, abs=1e-6)


@pytest.mark.parametrize('side', SIDES)
def test_zeros_init_and_std_are_obeyed_and_not_overwritten(side):
    connector = side(64, sub_sample=True, zeros_init=False, std=0.3)
    block = non_local(connector)
    connector.init_weights()
    assert block.conv_out.norm.weight.std().item() == pytest.approx(0.3, rel=0.4)
    assert block.theta.conv.weight.std().item() == pytest.approx(0.3, rel=0.1)
    assert not non_local(side(4)).conv_out.norm.weight.any()


@pytest.mark.parametrize('side', SIDES)
def test_init_cfg_is_obeyed(side):
    connector = side(4, sub_sample=True, init_cfg=dict(type='Constant', layer='Conv2d', val=0.25))
    connector.init_weights()
    assert all((module.weight == 0.25).all() for module in connector.modules() if isinstance(module, torch.nn.Conv2d))


def test_names_of_the_weights_are_those_of_mmrazors_checkpoints():
    names = {name.rsplit('.', 1)[0] for name in FBKDStudentConnector(4, sub_sample=True).state_dict()}
    block = {'g.0.0.conv', 'phi.0.0.conv', 'theta.conv', 'conv_out.conv', 'conv_out.bn'}
    adapting = {'channel_wise_adaptation', 'spatial_wise_adaptation', 'adaptation_layers', 'non_local_adaptation'}
    assert names == adapting | {f'student_non_local.{name}' for name in block}
    names = {name.rsplit('.', 1)[0] for name in FBKDTeacherConnector(4, sub_sample=True).state_dict()}
    assert names == {f'teacher_non_local.{name}' for name in block}


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize('value', [0.0, 3.0, 1e4, 6e4])
def test_masks_of_constant_and_huge_half_precision_maps_are_finite(side, value):
    feature = torch.full((1, 2, 260, 256), value, dtype=torch.float16)
    feature[0, 0, 0, 0] = 0
    # 66,560 positions, more than float16 can count
    for mask in side(2)._masks(feature):
        assert mask.isfinite().all()
        assert mask.mean().item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize('side', SIDES)
def test_one_sample_of_one_position_passes_without_statistics(side):
    feature = torch.zeros(1, 4, 1, 1, requires_grad=True)
    parts = side(4).eval()(feature)
    sum(part.sum() for part in parts).backward()
    assert all(part.isfinite().all() for part in parts)
    assert feature.grad.isfinite().all()


@pytest.mark.parametrize('side', SIDES)
def test_autocast_and_half_features_meet(side):
    connector = side(4)
    with torch.autocast('cpu', torch.bfloat16):
        for feature in (torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3).bfloat16()):
            assert all(part.isfinite().all() for part in connector(feature))


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize(
    ('feature', 'message'),
    [
        (torch.zeros(2, 8), r'\(2, 8\)'),
        (torch.zeros(2, 4, 2, 8, 8), r'\(2, 4, 2, 8, 8\)'),
        (torch.zeros(2, 3, 8, 8), 'write in_channels=3'),
        (torch.zeros(2, 4, 7, 8), r'2 \* maxpool_stride = 8 at least'),
        ((torch.zeros(2, 4, 8, 8),), 'data_idx'),
    ],
)
def test_other_maps_are_refused(side, feature, message):
    with pytest.raises(UserError, match=message) as caught:
        side(4, sub_sample=True, maxpool_stride=4)(feature)
    assert 'feature: expected' in str(caught.value)


@pytest.mark.parametrize('side', SIDES)
@pytest.mark.parametrize(
    'options', [dict(spatial_T=0), dict(channel_T=-1.0), dict(maxpool_stride=0), dict(mode='gauss')], ids=str
)
def test_bad_arguments_are_refused(side, options):
    with pytest.raises(UserError, match=f'{next(iter(options))}: expected'):
        side(4, **options)


@pytest.mark.parametrize('name', ['FBKDStudentConnector', 'FBKDTeacherConnector'])
def test_is_registered(name):
    connector = build_component(MODELS, dict(type=name, in_channels=8, reduction=4), 'here')
    assert non_local(connector).inter_channels == 2
