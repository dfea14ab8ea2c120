"""What every connector of feature maps has to stand, and what it has to refuse."""

import pytest
import torch

from kd_plugins.build import build_component
from kd_plugins.connectors import (
    BYOTConnector,
    MGDConnector,
    NormConnector,
    OFDTeacherConnector,
    Paraphraser,
    TorchFunctionalConnector,
    TorchNNConnector,
    Translator,
)
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS


def margin_relu():
    connector = OFDTeacherConnector()
    connector.init_margin(torch.full((1, 4, 1, 1), -0.5))
    return connector


# each takes 4 channels, at 8 x 8 positions
CONNECTORS = {
    'BYOTConnector': lambda: BYOTConnector(2, 4, num_classes=3, expansion=2, stride=2),
    'MGDConnector': lambda: MGDConnector(4, 6),
    'MGDConnector of channels': lambda: MGDConnector(4, 4, mask_on_channel=True),
    'NormConnector': lambda: NormConnector(4, dict(type='BN')),
    'OFDTeacherConnector': margin_relu,
    'Paraphraser': lambda: Paraphraser(4, 2, use_bn=True),
    'Paraphraser, frozen': lambda: Paraphraser(4, 2, phase='train', use_bn=True),
    'TorchFunctionalConnector': lambda: TorchFunctionalConnector('normalize'),
    'TorchNNConnector': lambda: TorchNNConnector('BatchNorm2d', dict(num_features=4)),
    'Translator': lambda: Translator(4, 6),
}
STRICT = [name for name in CONNECTORS if not name.startswith('Torch')]


def tensors(output):
    return output if isinstance(output, tuple) else (output,)


@pytest.fixture(params=CONNECTORS)
def connector(request):
    return CONNECTORS[request.param]()


@pytest.mark.parametrize(
    'feature',
    [
        torch.randn(1, 4, 8, 8),
        torch.zeros(2, 4, 8, 8),
        torch.full((2, 4, 8, 8), 3.0),
        torch.randn(2, 4, 8, 8) * 1e4,
        torch.randn(2, 4, 8, 8) * 1e-8,
    ],
    ids=['one sample', 'zeros', 'constant', 'huge', 'tiny'],
)
def test_values_and_gradients_are_finite(connector, feature):
    leaf = feature.clone().requires_grad_()
    outputs = tensors(connector(leaf))
    assert all(output.isfinite().all() for output in outputs)
    if outputs[0].requires_grad:
        sum(output.square().mean() for output in outputs).backward()
        gradients = [leaf.grad, *(parameter.grad for parameter in connector.parameters())]
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_an_empty_batch_passes(connector):
    outputs = tensors(connector.eval()(torch.rand(0, 4, 8, 8)))
    assert all(len(output) == 0 for output in outputs)


def test_autocast_and_half_features_meet(connector):
    # mmrazor issue 190: a connector in half precision met a feature in float32
    with torch.autocast('cpu', torch.bfloat16):
        for feature in (torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8).bfloat16()):
            assert all(output.isfinite().all() for output in tensors(connector(feature)))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_a_connector_in_the_precision_of_its_feature(connector, dtype):
    outputs = tensors(connector.to(dtype)(torch.randn(2, 4, 8, 8).to(dtype)))
    assert all(output.dtype == dtype and output.isfinite().all() for output in outputs)


def test_the_incoming_feature_stays_as_it_was(connector):
    feature = torch.randn(2, 4, 8, 8)
    before = feature.clone()
    connector(feature)
    assert torch.equal(feature, before)


@pytest.mark.parametrize('name', STRICT)
@pytest.mark.parametrize('shape', [(2, 5, 8, 8), (2, 8, 3), (2,)])
def test_other_channels_and_ranks_are_refused(name, shape):
    with pytest.raises(UserError, match='feature: expected a') as caught:
        CONNECTORS[name]()(torch.rand(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize('name', [name for name in STRICT if name != 'NormConnector'])
def test_a_tuple_is_refused(name):
    with pytest.raises(UserError, match='got a tuple; choose an element of it with data_idx'):
        CONNECTORS[name]()((torch.rand(2, 4, 8, 8),))


@pytest.mark.parametrize(
    'config',
    [
        dict(type='BYOTConnector', in_channel=4, out_channel=8, num_classes=3),
        dict(type='MGDConnector', student_channels=4, teacher_channels=6, lambda_mgd=1),
        dict(type='NormConnector', in_channels=4, norm_cfg=dict(type='GN', num_groups=2)),
        dict(type='OFDTeacherConnector'),
        dict(type='Paraphraser', in_channel=4, out_channel=2, phase='train'),
        dict(type='TorchFunctionalConnector', function_name='avg_pool2d', func_args=dict(kernel_size=4)),
        dict(type='TorchNNConnector', module_name='AvgPool2d', module_args=dict(kernel_size=4)),
        dict(type='Translator', in_channel=4, out_channel=2),
    ],
    ids=lambda config: config['type'],
)
def test_they_are_built_by_name(config):
    connector = build_component(MODELS, config, 'connectors.a')
    assert type(connector).__name__ == config['type']
    connector.init_weights()


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='Paraphraser', in_channel=4, out_channel=2, phase='test'), "phase: expected one of 'pretrain', 'tr"),
        (dict(type='Translator', in_channels=4, out_channel=2), 'a.in_channels: expected an argument of Translator'),
        (dict(type='MGDConnector', student_channels=4), 'the argument teacher_channels of MGDConnector'),
        (
            dict(type='TorchNNConnector', module_name='AvgPool2d', module_args=dict(kernel=4)),
            'connectors.a.module_args.kernel: expected',
        ),
        (dict(type='TorchNNConnector'), 'the argument module_name of TorchNNConnector'),
        (dict(type='TorchFunctionalConnector'), 'the argument function_name of TorchFunctionalConnector'),
        (dict(type='NormConnector', in_channels=4, norm_cfg=dict(type='Bn')), 'connectors.a'),
    ],
    ids=str,
)
def test_what_is_wrong_in_a_config_is_named(config, message):
    with pytest.raises(UserError) as caught:
        build_component(MODELS, config, 'connectors.a')
    assert message in str(caught.value)
