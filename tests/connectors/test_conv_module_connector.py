import itertools

import pytest
import torch
from mmcv.cnn import ConvModule

from kd_plugins.build import build_component
from kd_plugins.connectors import ConvModuleConnector
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS

ORDERS = list(itertools.permutations(('conv', 'norm', 'act')))
BN = dict(type='BN')
OPTIONS = [
    dict(),
    dict(kernel_size=3),
    dict(kernel_size=(3, 1), stride=(2, 1), padding=(1, 0)),
    dict(kernel_size=3, stride=2, padding=1),
    dict(kernel_size=3, dilation=2, padding=2),
    dict(groups=2),
    dict(bias=True),
    dict(bias=False),
    dict(norm_cfg=BN, bias=True),
    dict(conv_cfg=dict(type='Conv2d')),
    dict(norm_cfg=BN),
    dict(norm_cfg=dict(type='GN', num_groups=2)),
    dict(norm_cfg=dict(type='IN')),
    dict(act_cfg=None),
    dict(act_cfg=dict(type='LeakyReLU', negative_slope=0.3)),
    dict(act_cfg=dict(type='Tanh')),
    dict(inplace=False),
    dict(with_spectral_norm=True),
    dict(kernel_size=3, padding=1, padding_mode='reflect'),
    dict(kernel_size=3, padding=1, padding_mode='replicate'),
    dict(kernel_size=3, padding=1, padding_mode='circular'),
    *(dict(norm_cfg=BN, order=order) for order in ORDERS),
    *(dict(order=order) for order in ORDERS[1:]),
]


def pair(options):
    """Our connector and mmcv's module with the same weights, none of them at its initial 0 or 1."""
    ours = ConvModuleConnector(4, 6, **options)
    mmcvs = ConvModule(4, 6, **{'kernel_size': 1, **options})
    for tensor in ours.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.rand_like(tensor) * 0.1)
    mmcvs.load_state_dict(ours.conv_module.state_dict())
    return ours, mmcvs


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_equals_mmcvs_module(options, training):
    ours, mmcvs = (module.train(training) for module in pair(options))
    images = torch.randn(2, 2, 4, 7, 7)[0]
    inputs = [images.clone().requires_grad_(), images.clone().requires_grad_()]
    # an activation that comes first and in place must not meet a leaf
    outputs = [module(leaf * 1) for module, leaf in zip((ours, mmcvs), inputs, strict=True)]
    assert torch.equal(*outputs)
    weight = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weight).sum().backward()
    assert torch.equal(inputs[0].grad, inputs[1].grad)
    gradients = [dict(module.named_parameters()) for module in (ours.conv_module, mmcvs)]
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][name].grad, gradients[1][name].grad) for name in gradients[0])


@pytest.mark.parametrize('order', ORDERS)
def test_order_is_what_is_computed(order):
    connector = ConvModuleConnector(4, 6, norm_cfg=BN, order=order, inplace=False).eval()
    module = connector.conv_module
    module.norm.running_mean.uniform_(-1, 1)
    steps = {'conv': module.conv, 'norm': module.norm, 'act': torch.relu}
    images = torch.randn(2, 4, 5, 5)
    expected = images
    for name in order:
        expected = steps[name](expected)
    assert torch.allclose(connector(images), expected, atol=1e-6)


@pytest.mark.parametrize('order', ORDERS)
def test_norm_has_the_channels_of_its_place(order):
    norm = ConvModuleConnector(4, 6, norm_cfg=BN, order=order).conv_module.norm
    assert norm.num_features == (6 if order.index('norm') > order.index('conv') else 4)


def test_defaults_are_a_pointwise_convolution_and_relu():
    module = ConvModuleConnector(4, 6).conv_module
    assert module.conv.kernel_size == (1, 1)
    assert module.conv.bias is not None
    assert module.norm is None
    assert isinstance(module.activate, torch.nn.ReLU)
    assert module.activate.inplace


def test_auto_bias_is_left_out_before_a_norm():
    assert ConvModuleConnector(4, 6, norm_cfg=BN).conv_module.conv.bias is None


def test_order_may_be_a_list_as_a_config_has_it():
    connector = build_component(
        MODELS, dict(type='ConvModuleConnector', in_channel=4, out_channel=6, order=['act', 'conv', 'norm']), 'here'
    )
    assert connector.conv_module.order == ('act', 'conv', 'norm')


def test_init_cfg_is_obeyed():
    connector = ConvModuleConnector(4, 6, init_cfg=dict(type='Constant', layer='Conv2d', val=0.25, bias=0.5))
    connector.init_weights()
    assert torch.equal(connector.conv_module.conv.weight, torch.full((6, 4, 1, 1), 0.25))
    assert torch.equal(connector.conv_module.conv.bias, torch.full((6,), 0.5))


def test_unknown_and_missing_arguments_are_named():
    config = dict(type='ConvModuleConnector', in_channels=4, out_channel=6)
    with pytest.raises(UserError) as caught:
        build_component(MODELS, config, 'connectors.a')
    assert "connectors.a.in_channels: expected an argument of ConvModuleConnector, got 'in_channels'" in str(
        caught.value
    )
    assert "did you mean 'in_channel'" in str(caught.value)
    assert 'add in_channel=…' in str(caught.value)


def test_autocast_and_half_features_meet():
    # mmrazor issue 190: a connector in half precision met a feature in float32
    connector = ConvModuleConnector(4, 6, norm_cfg=BN)
    with torch.autocast('cpu', torch.bfloat16):
        for feature in (torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3).bfloat16()):
            assert connector(feature).isfinite().all()


@pytest.mark.parametrize('act_cfg', [dict(type='ReLU'), dict(type='ReLU', inplace=True), dict(type='Tanh')])
@pytest.mark.parametrize('norm_cfg', [None, BN])
@pytest.mark.parametrize('order', ORDERS)
def test_the_record_stays_as_it_is(order, norm_cfg, act_cfg):
    connector = ConvModuleConnector(4, 6, norm_cfg=norm_cfg, act_cfg=act_cfg, order=order)
    record = torch.randn(2, 4, 5, 5)
    before = record.clone()
    connector(record)
    assert torch.equal(record, before)
    if act_cfg['type'] == 'ReLU':
        first = order[1] if order[0] == 'norm' and norm_cfg is None else order[0]
        assert connector.conv_module.activate.inplace == (first != 'act')
