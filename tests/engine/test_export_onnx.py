"""An exported .onnx runs in onnxruntime, predicts what the model does, and has integers where the model has levels."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmengine.config import Config
from quantised import build, classifier_config, digits, scores_of, student_config, trained
from torch import nn

from kd_plugins.engine.export_onnx import images_of, save_onnx
from kd_plugins.errors import UserError

FLOAT = classifier_config(dict(type='kd_plugins.PlainCNN', stages=((8,), (16,))), 16, head='LinearClsHead')
IMAGES = torch.zeros(2, 3, 8, 8)


def run(path, images):
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    (scores,) = session.run(['scores'], {'images': images.numpy()})
    return torch.from_numpy(scores)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A trained quantised student and its file."""
    model = trained()
    path = tmp_path_factory.mktemp('onnx') / 'student.onnx'
    save_onnx(model, IMAGES, path)
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
    save_onnx(model, IMAGES, tmp_path / 'student.onnx')
    assert torch.equal(scores_of(model), expected)
    model.train()(digits('train')[0][:8]).sum().backward()
    assert model.backbone.stages[1][0].conv.weight.grad.abs().sum() > 0


def test_an_unquantised_student_too(tmp_path):
    model = build(FLOAT).eval()
    save_onnx(model, IMAGES, tmp_path / 'student.onnx')
    torch.testing.assert_close(
        run(tmp_path / 'student.onnx', digits('test')[0]), scores_of(model), atol=1e-5, rtol=1e-4
    )
    assert 'QuantizeLinear' not in {node.op_type for node in onnx.load(tmp_path / 'student.onnx').graph.node}


@pytest.mark.parametrize('bits', [dict(weight_bits=1), dict(bits=1), dict(head_bits=1)], ids=str)
def test_1_bit_is_refused(tmp_path, bits):
    with pytest.raises(UserError, match='OUT: expected 2 bits or more') as error:
        save_onnx(build(student_config(**bits)).eval(), IMAGES, tmp_path / 'student.onnx')
    assert 'packed.safetensors' in error.value.faults[0].advice
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(UserError, match=r"pip install 'kd_plugins\[quantized\]'"):
        save_onnx(build(FLOAT).eval(), IMAGES, tmp_path / 'student.onnx')


def test_what_gives_no_scores_is_refused(tmp_path):
    model = build({key: value for key, value in FLOAT.items() if key != 'head'})
    with pytest.raises(UserError, match='model: expected a classifier, which gives scores, got a tuple'):
        save_onnx(model.eval(), IMAGES, tmp_path / 'student.onnx')


def test_layers_that_onnx_does_not_know_are_named(tmp_path):
    class Odd(nn.Module):
        def forward(self, features):
            return torch.linalg.eigvalsh(features[-1].T @ features[-1])

    model = build(FLOAT).eval()
    model.head = Odd()
    with pytest.raises(UserError, match=r'model: expected layers that ONNX knows, got .*eigvalsh'):
        save_onnx(model, IMAGES, tmp_path / 'student.onnx')


def test_the_size_is_that_of_the_test_data():
    def loader(size):
        pipeline = [dict(type='Resize', scale=(size, size)), dict(type='PackInputs')]
        return dict(dataset=dict(type='CustomDataset', pipeline=pipeline))

    config = dict(default_scope='mmpretrain', train_dataloader=loader(8), test_dataloader=loader(16))
    assert images_of(Config(config), build(FLOAT)).shape == (2, 3, 16, 16)
    config['test_dataloader'] = None
    assert images_of(Config(config), build(FLOAT)).shape == (2, 3, 8, 8)


def test_without_images_their_size_is_not_known():
    config = Config(dict(default_scope='mmpretrain', train_dataloader=None))
    with pytest.raises(UserError, match='test_dataloader: expected images, whose size the file needs, got none'):
        images_of(config, build(FLOAT))
