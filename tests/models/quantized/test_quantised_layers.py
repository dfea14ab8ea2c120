"""Quantised layers: few levels, in any backbone that takes conv_cfg, and what trainings do with a model."""

import copy
import subprocess
import sys

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from quantised import build, classifier_config, digits, scores_of, student_config, trained
from torch import nn

from kd_plugins.errors import UserError
from kd_plugins.memory_format import store_channels_last, to_channels_last
from kd_plugins.models.quantized import QuantLinearClsHead, quant_conv2d, quant_relu, quantized_layers

CONV = dict(type='kd_plugins.QuantConv2d', weight_bits=4)
ACT = dict(type='kd_plugins.QuantReLU', bits=4)
BACKBONES = {
    'PlainCNN': (dict(type='kd_plugins.PlainCNN', stages=((8,), (16,)), conv_cfg=CONV, act_cfg=ACT), 16),
    # takes no act_cfg: its convolutions round what they read
    'ResNet': (dict(type='ResNet', depth=18, conv_cfg=dict(CONV, input_bits=4, input_signed=False)), 512),
    'VGG': (dict(type='VGG', depth=11, norm_cfg=dict(type='BN'), conv_cfg=CONV, act_cfg=ACT), 512),
    # has layers behind no activation
    'MobileNetV2': (dict(type='MobileNetV2', conv_cfg=dict(CONV, input_bits=8), act_cfg=ACT), 1280),
}
LAYERS = {'PlainCNN': 3, 'ResNet': 21, 'VGG': 9, 'MobileNetV2': 53}


def levels_of(tensor):
    return len(tensor.unique())


@pytest.mark.parametrize('bits', range(1, 9))
def test_weights_have_as_many_levels_as_their_bits_say(bits):
    torch.manual_seed(0)
    layer = quant_conv2d(16, 2, 9, weight_bits=bits)
    for weight, quantised in zip(layer.weight, layer.quant_weight().value, strict=True):
        top = weight.abs().max()
        step = top / max(2 ** (bits - 1) - 1, 1)
        expected = weight.sign() * top if bits == 1 else (weight / step).round() * step
        torch.testing.assert_close(quantised, expected)
        assert levels_of(quantised) == (2 if bits == 1 else 2**bits - 1)


@pytest.mark.parametrize('bits', range(1, 9))
def test_activations_have_as_many_levels_as_their_bits_say(bits):
    values = torch.linspace(-2, 6, 4001)
    step = 4 / (2**bits - 1)
    out = quant_relu(bits)(values)
    torch.testing.assert_close(out, (values.clamp(0, 4) / step).round() * step)
    assert levels_of(out) == 2**bits


@pytest.mark.parametrize(('bits', 'levels'), [(1, 2), (2, 4), (8, 256)])
def test_the_layer_that_reads_the_image_has_its_own_bits_and_rounds_the_image(bits, levels):
    layer = quant_conv2d(3, 8, 9, weight_bits=4, image_bits=bits)
    assert layer.weight_quant.bit_width() == bits
    pixels = torch.linspace(-4, 4, 4000)
    assert levels_of(layer.input_quant(pixels).value) == levels


@pytest.mark.parametrize('options', [dict(in_channels=5), dict(in_channels=4, out_channels=4, groups=4)])
def test_other_layers_read_no_image(options):
    layer = quant_conv2d(**{'out_channels': 5, 'kernel_size': 3, **options})
    assert layer.weight_quant.bit_width() == 4
    assert not layer.input_quant.is_quant_enabled


@pytest.mark.parametrize(('signed', 'least', 'levels'), [(True, -4, 16), (False, 0, 16)])
def test_inputs_are_rounded_where_asked(signed, least, levels):
    layer = quant_conv2d(8, 8, 3, input_bits=4, input_signed=signed)
    rounded = layer.input_quant(torch.linspace(-9, 9, 4001)).value
    assert levels_of(rounded) == levels
    assert rounded.min().item() == pytest.approx(least, rel=0.15)


def test_is_the_convolution_with_the_rounded_weights():
    torch.manual_seed(0)
    layer = quant_conv2d(8, 4, 3, stride=2, padding=1, dilation=2, groups=2, bias=True)
    images = torch.randn(2, 8, 9, 9)
    expected = nn.functional.conv2d(images, layer.quant_weight().value, layer.bias, 2, 1, 2, 2)
    out = layer(images)
    assert type(out) is torch.Tensor
    torch.testing.assert_close(out, expected)


def test_head_has_8_bits_by_default():
    head = QuantLinearClsHead(num_classes=10, in_channels=500)
    assert head.fc.weight_quant.bit_width() == 8
    assert head.fc.input_quant.is_quant_enabled
    features = torch.rand(3, 500)
    expected = nn.functional.linear(head.fc.input_quant(features).value, head.fc.quant_weight().value, head.fc.bias)
    torch.testing.assert_close(head((features,)), expected)


@pytest.mark.parametrize('name', BACKBONES)
def test_trains_in_any_backbone(name):
    backbone, width = BACKBONES[name]
    model = build(classifier_config({**backbone, **({'out_indices': (4,)} if name == 'VGG' else {})}, width))
    assert len(quantized_layers(model)) == LAYERS[name]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == LAYERS[name] - 1
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)

    loss = nn.functional.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.arange(4))
    loss.backward()
    optimiser.step()

    assert torch.isfinite(loss)
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
    assert all(not torch.equal(layer.weight, before[f'{key}.weight']) for key, layer in quantized_layers(model).items())


@pytest.mark.parametrize(('name', 'most'), [('ResNet', 16), ('MobileNetV2', 256)])
def test_every_convolution_reads_few_levels(name, most):
    """Where act_cfg does not reach, input_bits does."""
    backbone, width = BACKBONES[name]
    model = build(classifier_config(backbone, width)).eval()
    seen = {}
    for key, layer in quantized_layers(model).items():
        layer.input_quant.register_forward_hook(lambda _, args, out, key=key: seen.update({key: levels_of(out.value)}))
    model(torch.randn(2, 3, 32, 32))
    assert seen.keys() == quantized_layers(model).keys()
    # the image and the features of the classifier have 8 bits
    assert max(seen.values()) <= 256
    assert max(list(seen.values())[1:-1]) <= most


def test_learns_digits():
    scores = scores_of(trained(), 'val')
    assert (scores.argmax(1) == digits('val')[1]).float().mean() > 0.6


def test_gradient_reaches_weights_images_and_scales():
    model = build(student_config())
    images = digits('train')[0][:16].clone().requires_grad_()
    model(images).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0 or name.endswith('bias'), name
    assert images.grad.abs().sum() > 0


def test_channels_last_changes_nothing():
    model = trained()
    images = digits('test')[0]
    with torch.no_grad():
        expected = model(images)
        store_channels_last(model)
        assert model.backbone.stages[1][0].conv.weight.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(model(to_channels_last(images)), expected, atol=1e-4, rtol=1e-4)


def test_a_copy_is_independent_and_the_same():
    model = trained()
    twin = copy.deepcopy(model)
    expected = scores_of(model)
    assert torch.equal(scores_of(twin), expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1.5)
    assert torch.equal(scores_of(model), expected)


def test_a_resumed_model_is_the_same_and_its_optimiser_still_knows_it():
    saved = trained()
    model = build(student_config(), seed=1)
    parameters = dict(model.named_parameters())

    model.load_state_dict(copy.deepcopy(saved.state_dict()))

    assert torch.equal(scores_of(model), scores_of(saved))
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())


def test_training_goes_on_from_a_state_dict_as_it_would_have():
    def step(model, optimiser, images, labels):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model.train()(images), labels).backward()
        optimiser.step()

    images, labels = (tensor[:64] for tensor in digits('train'))
    model = trained()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    step(model, optimiser, images, labels)
    resumed = build(student_config(), seed=1)
    other = torch.optim.AdamW(resumed.parameters(), lr=1e-2)
    resumed.load_state_dict(copy.deepcopy(model.state_dict()))
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))

    for one, its in ((model, optimiser), (resumed, other)):
        step(one, its, images, labels)

    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize('update_buffers', [False, True])
def test_scales_are_averaged_like_weights(update_buffers):
    model = trained()
    average = ExponentialMovingAverage(model, momentum=0.25, update_buffers=update_buffers)
    average.update_parameters(model)
    (name,) = [key for key, _ in model.named_parameters() if 'stages.1' in key and 'act_quant' in key]
    before = model.get_parameter(name).item()
    with torch.no_grad():
        model.get_parameter(name).add_(1)
    average.update_parameters(model)
    assert average.module.get_parameter(name).item() == pytest.approx(before + 0.25)
    assert torch.isfinite(scores_of(average.module)).all()


@pytest.mark.parametrize('bits', [0, 9, -1, 4.0, True, '4', None])
@pytest.mark.parametrize(
    ('where', 'make'),
    [
        ('conv_cfg.weight_bits', lambda bits: quant_conv2d(8, 8, 3, weight_bits=bits)),
        ('conv_cfg.image_bits', lambda bits: quant_conv2d(3, 8, 3, image_bits=bits)),
        ('conv_cfg.input_bits', lambda bits: quant_conv2d(8, 8, 3, input_bits=bits)),
        ('bits', lambda bits: quant_relu(bits)),
        ('bits', lambda bits: QuantLinearClsHead(num_classes=10, in_channels=4, bits=bits)),
    ],
)
def test_other_bits_are_refused(where, make, bits):
    if where.endswith('input_bits') and bits is None:
        assert not make(None).input_quant.is_quant_enabled
        return
    with pytest.raises(UserError, match='a whole number of bits from 1 to 8') as error:
        make(bits)
    assert error.value.faults[0].where == where
    assert error.value.faults[0].got == repr(bits)


def test_other_maxima_are_refused():
    with pytest.raises(UserError, match='max_value: expected a finite number above 0, got 0'):
        quant_relu(max_value=0)


@pytest.mark.parametrize('key', ['conv_cfg', 'act_cfg'])
def test_without_brevitas_it_says_what_to_install(monkeypatch, key):
    for name in ('brevitas', 'brevitas.config', 'brevitas.nn'):
        monkeypatch.setitem(sys.modules, name, None)
    layers = dict(conv_cfg=CONV, act_cfg=ACT)
    with pytest.raises(UserError, match=r"brevitas is not installed; pip install 'kd_plugins\[quantized\]'"):
        build(classifier_config(dict(type='kd_plugins.PlainCNN', stages=((4,),), **{key: layers[key]}), 4))


def test_brevitas_and_onnx_are_imported_when_they_are_needed():
    script = "import sys, kd_plugins.models; print({'brevitas', 'onnx', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'set()'
