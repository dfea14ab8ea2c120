"""An exported .onnx runs in onnxruntime, predicts what the model does, and has integers where the model has levels."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmengine.config import Config
from mmengine.model import ImgDataPreprocessor
from quantised import build, classifier_config, digits, scores_of, student_config, trained
from torch import nn

from kd_plugins.engine.export_onnx import images_of, save_onnx
from kd_plugins.engine.onnx_interface import OnnxInterface, interface_of
from kd_plugins.errors import UserError

FLOAT = classifier_config(dict(type='kd_plugins.PlainCNN', stages=((8,), (16,))), 16, head='LinearClsHead')
MULTI_LABEL = FLOAT | dict(head=FLOAT['head'] | dict(type='MultiLabelLinearClsHead'))
IMAGES = torch.zeros(2, 3, 8, 8)
PLAIN = OnnxInterface((3, 8, 8), 'BGR')
LOADED = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]


def run(path, images, output='logits'):
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    assert [found.name for found in session.get_outputs()] == [output]
    (found,) = session.run([output], {'images': images.numpy()})
    return torch.from_numpy(found)


def save(model, path, images=IMAGES, classes=None, pipeline=LOADED, config=FLOAT, **options):
    """Write a model as the tool does; returns the metadata of the file."""
    options = dict(preprocessing=False, softmax=False) | options
    interface = interface_of(model, images, config['data_preprocessor'], pipeline, classes, **options)
    save_onnx(model, images, path, interface)
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def coloured_digits():
    """The test digits as they are loaded, uint8 (N, 3, 8, 8), each channel darker than the one before."""
    pixels = (digits('test')[0] * 82.2 + 77.4).round()
    return (pixels * torch.tensor([1, 0.7, 0.3]).view(3, 1, 1)).to(torch.uint8)


def predicted(model, pixels):
    """The scores that the model itself predicts for raw images."""
    with torch.no_grad():
        samples = model.eval().test_step(dict(inputs=pixels))
    return torch.stack([sample.pred_score for sample in samples])


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A trained quantised student and its file."""
    model = trained()
    path = tmp_path_factory.mktemp('onnx') / 'student.onnx'
    save_onnx(model, IMAGES, path, PLAIN)
    return model, path


def test_predictions_are_the_models(exported):
    model, path = exported
    images = digits('test')[0]
    expected = scores_of(model)
    scores = run(path, images)
    assert torch.equal(scores.argmax(1), expected.argmax(1))
    torch.testing.assert_close(scores, expected, atol=1e-3, rtol=1e-3)


def test_takes_any_number_of_images(exported):
    model, path = exported
    images = digits('val')[0][:5]
    torch.testing.assert_close(run(path, images), scores_of(model, 'val')[:5], atol=1e-3, rtol=1e-3)


def test_is_quantised_from_the_image_on(exported):
    _, path = exported
    graph = onnx.load(path).graph
    onnx.checker.check_model(onnx.load(path))
    (reader,) = [node for node in graph.node if 'images' in node.input]
    assert reader.op_type == 'QuantizeLinear'
    producer = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Constant':
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    tops = []
    for node in graph.node:
        if node.op_type not in ('Conv', 'Gemm'):
            continue
        for name in node.input[:2]:
            source = producer[name]
            # no float weight, and no float feature map but through a pooling
            while source.op_type in ('MaxPool', 'Transpose', 'Identity'):
                source = producer[source.input[0]]
            assert source.op_type == 'DequantizeLinear'
        name = source.input[0]
        if name in producer and producer[name].op_type == 'Clip':
            name = producer[name].input[0]
        weight = constants[name]
        assert weight.dtype == np.int8
        tops.append(np.abs(weight.astype(int)).max())
    assert tops == [127, 7, 127]


def test_leaves_the_model_as_it_was(tmp_path):
    model = trained()
    expected = scores_of(model)
    save_onnx(model, IMAGES, tmp_path / 'student.onnx', PLAIN)
    assert torch.equal(scores_of(model), expected)
    model.train()(digits('train')[0][:8]).sum().backward()
    assert model.backbone.stages[1][0].conv.weight.grad.abs().sum() > 0


def test_an_unquantised_student_too(tmp_path):
    model = build(FLOAT).eval()
    save_onnx(model, IMAGES, tmp_path / 'student.onnx', PLAIN)
    torch.testing.assert_close(
        run(tmp_path / 'student.onnx', digits('test')[0]), scores_of(model), atol=1e-5, rtol=1e-4
    )
    assert 'QuantizeLinear' not in {node.op_type for node in onnx.load(tmp_path / 'student.onnx').graph.node}


def test_without_options_it_gives_logits_and_says_so(tmp_path):
    model = build(FLOAT).eval()
    found = save(model, tmp_path / 'student.onnx', classes=['zero', 'one'])
    torch.testing.assert_close(run(tmp_path / 'student.onnx', digits('test')[0]), scores_of(model))
    assert found['input'] == 'preprocessed'
    assert found['output'] == 'logits'
    assert found['channel_order'] == 'BGR'
    assert json.loads(found['mean']) == pytest.approx([77.4] * 3)
    assert json.loads(found['std']) == pytest.approx([82.2] * 3)
    assert json.loads(found['classes']) == ['zero', 'one']
    assert 'it gives logits, before any softmax' in found['description']


@pytest.mark.parametrize('to_rgb', [True, False])
@pytest.mark.parametrize('quantised', [True, False])
def test_with_preprocessing_and_softmax_it_gives_the_models_own_scores_of_pixels(tmp_path, to_rgb, quantised):
    """Each channel has a mean and a deviation of its own."""
    config = student_config() if quantised else FLOAT
    preprocessor = dict(type='ClsDataPreprocessor', mean=[90.0, 60, 30], std=[80.0, 60, 30], to_rgb=to_rgb)
    config = config | dict(
        data_preprocessor=preprocessor, head=config['head'] | dict(init_cfg=dict(type='Normal', std=1))
    )
    model = build(config)
    model.head.init_weights()
    pixels = coloured_digits()
    found = save(model.eval(), tmp_path / 'student.onnx', pixels[:2], config=config, preprocessing=True, softmax=True)
    expected = predicted(model, pixels)
    scores = run(tmp_path / 'student.onnx', pixels, 'scores')
    torch.testing.assert_close(scores, expected, atol=1e-5 if not quantised else 1e-3, rtol=0)
    # the other order is another image
    assert (predicted(model, pixels.flip(1)) - expected).abs().max() > 1e-2
    assert (found['input'], found['output'], found['channel_order']) == ('pixels', 'scores', 'BGR')
    assert 'mean' not in found
    assert 'uint8 pixels, 0 to 255' in found['description']
    # preprocessed images have the order of the network
    after = interface_of(model, pixels, preprocessor, LOADED, None, preprocessing=False, softmax=False)
    assert after.channel_order == ('RGB' if to_rgb else 'BGR')


def test_mmengines_preprocessor_goes_into_the_file_too(tmp_path):
    """It pads as well: 8 to 12 pixels."""
    options = dict(mean=[90.0, 60, 30], std=[80.0, 60, 30], rgb_to_bgr=True, pad_size_divisor=6)
    model, pixels = build(FLOAT).eval(), coloured_digits()
    # mmpretrain's classifiers build it with an argument that it does not have
    model.data_preprocessor = ImgDataPreprocessor(**options)
    config = FLOAT | dict(data_preprocessor=options)
    found = save(model, tmp_path / 'student.onnx', pixels[:2], config=config, preprocessing=True)
    with torch.no_grad():
        expected = model(model.data_preprocessor(dict(inputs=pixels), False)['inputs'])
    torch.testing.assert_close(run(tmp_path / 'student.onnx', pixels), expected, atol=1e-5, rtol=0)
    assert found['channel_order'] == 'RGB'


@pytest.mark.parametrize(
    ('pipeline', 'channels', 'order'),
    [
        (LOADED, 1, 'gray'),
        ([dict(type='PackInputs')], 3, 'as in the training data'),
        ([LOADED[0], dict(type='NumpyToPIL', to_rgb=True), LOADED[1]], 3, 'as in the training data'),
    ],
    ids=['gray', 'not from files', 'converted'],
)
def test_channel_order_that_no_preprocessor_converts(pipeline, channels, order):
    images = torch.zeros(2, channels, 8, 8)
    found = interface_of(build(FLOAT), images, {}, pipeline, None, preprocessing=True, softmax=False)
    assert found.channel_order == order


def test_softmax_of_a_multi_label_head_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'--softmax: .* got a multi-label head, whose scores are sigmoids') as error:
        save(build(MULTI_LABEL).eval(), tmp_path / 'student.onnx', softmax=True)
    assert 'apply a sigmoid to the logits' in error.value.faults[0].advice
    assert list(tmp_path.iterdir()) == []
    found = save(build(MULTI_LABEL).eval(), tmp_path / 'student.onnx')
    assert found['output'] == 'logits'


@pytest.mark.parametrize(
    ('predict', 'got'),
    [(lambda feats, _: [], 'no scores to compare with'), (None, 'something else')],
    ids=['nothing', 'a power'],
)
def test_softmax_of_a_head_that_predicts_something_else_is_refused(tmp_path, predict, got):
    model = build(FLOAT).eval()
    own = model.head.predict

    def squared(feats, samples):
        found = own(feats, samples)
        return [sample.set_pred_score(sample.pred_score**2) for sample in found]

    model.head.predict = predict or squared
    with pytest.raises(UserError, match=f'--softmax: .*{got}'):
        save(model, tmp_path / 'student.onnx', softmax=True)


@pytest.mark.parametrize('bits', [dict(weight_bits=1), dict(bits=1), dict(head_bits=1)], ids=str)
def test_1_bit_is_refused(tmp_path, bits):
    with pytest.raises(UserError, match='OUT: expected 2 bits or more') as error:
        save_onnx(build(student_config(**bits)).eval(), IMAGES, tmp_path / 'student.onnx', PLAIN)
    assert 'packed.safetensors' in error.value.faults[0].advice
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(UserError, match=r"pip install 'kd_plugins\[quantized\]'"):
        save_onnx(build(FLOAT).eval(), IMAGES, tmp_path / 'student.onnx', PLAIN)


def test_what_gives_no_logits_is_refused(tmp_path):
    model = build({key: value for key, value in FLOAT.items() if key != 'head'})
    with pytest.raises(UserError, match='model: expected a classifier, which gives logits, got a tuple'):
        save_onnx(model.eval(), IMAGES, tmp_path / 'student.onnx', PLAIN)


def test_layers_that_onnx_does_not_know_are_named(tmp_path):
    class Odd(nn.Module):
        def forward(self, features):
            return torch.linalg.eigvalsh(features[-1].T @ features[-1])

    model = build(FLOAT).eval()
    model.head = Odd()
    with pytest.raises(UserError, match=r'model: expected layers that ONNX knows, got .*eigvalsh'):
        save_onnx(model, IMAGES, tmp_path / 'student.onnx', PLAIN)


def test_the_size_is_that_of_the_test_data():
    def loader(size):
        pipeline = [dict(type='Resize', scale=(size, size)), dict(type='PackInputs')]
        return dict(dataset=dict(type='CustomDataset', pipeline=pipeline))

    config = dict(default_scope='mmpretrain', train_dataloader=loader(8), test_dataloader=loader(16))
    assert images_of(Config(config), build(FLOAT)).shape == (2, 3, 16, 16)
    config['test_dataloader'] = None
    assert images_of(Config(config), build(FLOAT)).shape == (2, 3, 8, 8)


def test_pixels_are_those_before_the_preprocessor():
    loader = dict(
        dataset=dict(type='CustomDataset', pipeline=[dict(type='Resize', scale=(8, 8)), dict(type='PackInputs')])
    )
    config = dict(default_scope='mmpretrain', test_dataloader=loader)
    images = images_of(Config(config), build(FLOAT), pixels=True)
    assert (images.dtype, images.shape) == (torch.uint8, (2, 3, 8, 8))


def test_pixels_of_a_pipeline_that_normalises_are_not_to_be_had():
    steps = [
        dict(type='Resize', scale=(8, 8)),
        dict(type='Normalize', mean=[0] * 3, std=[1] * 3),
        dict(type='PackInputs'),
    ]
    loader = dict(dataset=dict(type='CustomDataset', pipeline=steps))
    config = Config(dict(default_scope='mmpretrain', test_dataloader=loader))
    with pytest.raises(UserError, match=r'--with-preprocessing: .* got images of float32'):
        images_of(config, build(FLOAT), pixels=True)


def test_without_images_their_size_is_not_known():
    config = Config(dict(default_scope='mmpretrain', train_dataloader=None))
    with pytest.raises(UserError, match='test_dataloader: expected images, whose size the file needs, got none'):
        images_of(config, build(FLOAT))
