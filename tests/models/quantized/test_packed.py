"""The file that ships a quantised model: small, exact, and refused where it is of another model or damaged."""

import itertools
import json

import pytest
import safetensors
import safetensors.torch
import torch
from quantised import accuracy_of, build, classifier_config, scores_of, student_config, trained

from kd_plugins.errors import UserError
from kd_plugins.models.quantized import load_packed, quantized_layers, read_packed, save_packed, shipped_bytes

FLOAT = classifier_config(dict(type='kd_plugins.PlainCNN', stages=((8,), (16,))), 16, head='LinearClsHead')
FIRST, SECOND, LAST = 'backbone.stages.0.0.conv.weight', 'backbone.stages.1.0.conv.weight', 'head.fc.weight'


def contents(path):
    with safetensors.safe_open(path, framework='pt') as file:
        header = json.loads(file.metadata()['kd_plugins.packed'])
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118


@pytest.fixture(scope='module')
def model():
    return trained()


@pytest.fixture
def path(model, tmp_path):
    save_packed(model, tmp_path / 'student.packed.safetensors')
    return tmp_path / 'student.packed.safetensors'


@pytest.mark.parametrize(
    'bits',
    [
        dict(weight_bits=1, bits=1, image_bits=1, head_bits=1),
        dict(weight_bits=2, bits=2),
        dict(weight_bits=3, bits=5, image_bits=6, head_bits=7),
        dict(),
        dict(weight_bits=8, bits=8),
    ],
    ids=str,
)
def test_predicts_exactly_what_the_saved_model_did(tmp_path, bits):
    saved = trained(steps=15, **bits)
    save_packed(saved, tmp_path / 'student.packed.safetensors')
    loaded = build(student_config(**bits), seed=1)

    load_packed(loaded, tmp_path / 'student.packed.safetensors')

    assert torch.equal(scores_of(loaded), scores_of(saved))
    layers = quantized_layers(loaded)
    for name, layer in quantized_layers(saved).items():
        assert torch.equal(layers[name].quant_weight().value, layer.quant_weight().value), name
        torch.testing.assert_close(layers[name].weight, layer.quant_weight().value)


def test_accuracy_stays(model, path):
    loaded = build(student_config(), seed=1)
    load_packed(loaded, path)
    assert accuracy_of(scores_of(loaded)) == accuracy_of(scores_of(model)) > 0.6


def test_packing_again_gives_the_same_file(path, tmp_path):
    loaded = build(student_config(), seed=1)
    load_packed(loaded, path)
    save_packed(loaded, tmp_path / 'again')
    assert (tmp_path / 'again').read_bytes() == path.read_bytes()


def test_weights_are_packed_and_the_rest_is_float(model, path):
    tensors, header = contents(path)
    assert header == {
        FIRST: dict(bits=8, shape=[8, 3, 3, 3]),
        SECOND: dict(bits=4, shape=[16, 8, 3, 3]),
        LAST: dict(bits=8, shape=[10, 16]),
    }
    assert tensors[SECOND].dtype == torch.uint8
    assert [len(tensors[name]) for name in header] == [216, 16 * 72 // 2, 160]
    assert torch.equal(
        tensors[f'{SECOND}.range'], model.backbone.stages[1][0].conv.weight.detach().abs().amax((1, 2, 3))
    )
    rest = {name: tensor for name, tensor in model.state_dict().items() if name not in header}
    expected = {name: tensor for name, tensor in rest.items() if not name.endswith('num_batches_tracked')}
    found = {name: tensor for name, tensor in tensors.items() if name.removesuffix('.range') not in header}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_numbers_are_what_the_docstring_says(model, path):
    """Read without this package's code: two to a byte, the lowest bits first."""
    tensors, _ = contents(path)
    packed = tensors[SECOND].int()
    numbers = torch.stack([packed & 15, packed >> 4], 1).reshape(16, 8, 3, 3)
    scale = tensors[f'{SECOND}.range'].reshape(16, 1, 1, 1) / 7
    torch.testing.assert_close((numbers - 7) * scale, model.backbone.stages[1][0].conv.quant_weight().value)


def test_size_is_that_of_the_file(model, path):
    assert shipped_bytes(model) == path.stat().st_size
    unquantised = build(FLOAT)
    whole = len(safetensors.torch.save(unquantised.state_dict()))
    assert shipped_bytes(unquantised) == whole
    assert shipped_bytes(model) < whole


def test_size_of_tied_and_channels_last_weights_can_be_told():
    unquantised = build(FLOAT).to(memory_format=torch.channels_last)
    expected = shipped_bytes(build(FLOAT))
    unquantised.head.fc.bias.data = unquantised.head.fc.weight.data[:, 0]
    assert shipped_bytes(unquantised) == expected


def test_fewer_bits_make_a_smaller_file():
    sizes = [shipped_bytes(build(student_config(weight_bits=bits))) for bits in range(1, 9)]
    # safetensors fills its header up to a multiple of 8
    for earlier, later in itertools.pairwise(sizes):
        assert later - earlier == pytest.approx(16 * 72 / 8, abs=8)


def test_dead_channels_survive(tmp_path):
    saved, loaded = (build(student_config(weight_bits=bits)).eval() for bits in (1, 1))
    with torch.no_grad():
        saved.backbone.stages[1][0].conv.weight[3] = 0
    save_packed(saved, tmp_path / 'student.packed.safetensors')
    load_packed(loaded, tmp_path / 'student.packed.safetensors')
    assert torch.equal(scores_of(loaded), scores_of(saved))


def test_a_model_without_quantised_layers_is_not_packed(tmp_path):
    with pytest.raises(UserError, match='a model with quantised layers, got a ImageClassifier without'):
        save_packed(build(FLOAT), tmp_path / 'student.packed.safetensors')
    assert list(tmp_path.iterdir()) == []


def test_layers_that_are_rounded_otherwise_are_not_packed(tmp_path):
    import brevitas.nn
    from brevitas.quant import Int8WeightPerTensorFloat

    other = torch.nn.Sequential(brevitas.nn.QuantLinear(4, 3, bias=True, weight_quant=Int8WeightPerTensorFloat))
    with pytest.raises(UserError, match=r'0: expected a layer that is quantised as kd_plugins\.QuantConv2d'):
        save_packed(other, tmp_path / 'student.packed.safetensors')


@pytest.mark.parametrize(
    ('config', 'got'),
    [
        (student_config(weight_bits=3), "conv.weight of {'bits': 4, 'shape': [16, 8, 3, 3]}, not {'bits': 3"),
        (
            classifier_config({**student_config()['backbone'], 'stages': ((8,), (12,))}, 12),
            "not {'bits': 4, 'shape': [12",
        ),
        (FLOAT, 'which this model has not or not quantised'),
    ],
    ids=['bits', 'shape', 'float'],
)
def test_another_model_is_refused(path, config, got):
    with pytest.raises(UserError, match='the packed file of this ImageClassifier') as error:
        load_packed(build(config), path, 'CHECKPOINT')
    assert error.value.faults[0].where == 'CHECKPOINT'
    assert got in error.value.faults[0].got


def replace(tensors, name, value):
    tensors[name] = value


DAMAGE = {
    'no weight': (lambda tensors, header: tensors.pop(SECOND), f'no {SECOND}'),
    'no range': (lambda tensors, header: tensors.pop(f'{SECOND}.range'), f'no {SECOND}.range'),
    'short': (
        lambda tensors, header: replace(tensors, SECOND, tensors[SECOND][:-1].clone()),
        '(575,), not uint8 (576,)',
    ),
    'float': (lambda tensors, header: replace(tensors, SECOND, tensors[SECOND].float()), 'float32 (576,), not uint8'),
    'ranges': (lambda tensors, header: replace(tensors, f'{LAST}.range', torch.ones(3)), 'not float32 (10,)'),
    'nan': (lambda tensors, header: tensors[f'{LAST}.range'].fill_(float('nan')), 'values that are not above 0'),
    'negative': (lambda tensors, header: tensors[f'{LAST}.range'].neg_(), 'values that are not above 0'),
    'beyond': (lambda tensors, header: tensors[SECOND].fill_(255), f'{SECOND} with a number beyond 4 bits'),
    'bias': (lambda tensors, header: replace(tensors, 'head.fc.bias', torch.zeros(9)), 'head.fc.bias'),
    'no bias': (lambda tensors, header: tensors.pop('head.fc.bias'), '1 tensors of the model missing (head.fc.bias)'),
    'left over': (lambda tensors, header: replace(tensors, 'more', torch.zeros(1)), 'does not have (more)'),
    'header lacks': (lambda tensors, header: header.pop(LAST), f'no packed {LAST}'),
    'header huge': (lambda tensors, header: header[LAST].update(shape=[1000, 1000]), "'shape': [1000, 1000"),
    'header wild': (lambda tensors, header: header.update({LAST: 'x' * 999}), 'head.fc.weight of xxx'),
    'header more': (
        lambda tensors, header: header.update({'neck.weight': None}),
        'neck.weight, which this model has not',
    ),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_wrong_contents_are_refused(path, name):
    damage, got = DAMAGE[name]
    tensors, header = contents(path)
    damage(tensors, header)
    safetensors.torch.save_file(tensors, path, {'kd_plugins.packed': json.dumps(header)})
    with pytest.raises(UserError) as error:
        load_packed(build(student_config()), path)
    assert got in error.value.faults[0].got


@pytest.mark.parametrize(
    ('metadata', 'got'),
    [
        (None, 'says nothing of packed weights'),
        ({'kd_plugins.packed': '[1]'}, 'says nothing of packed weights'),
        ({'kd_plugins.packed': '{'}, 'cannot be read (JSONDecodeError'),
        ({'kd_plugins.packed': '[' * 100}, 'cannot be read (ValueError: more than 20 brackets'),
    ],
)
def test_a_file_without_its_header_is_refused(path, metadata, got):
    tensors, _ = contents(path)
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(UserError) as error:
        read_packed(build(student_config()), path)
    assert got in error.value.faults[0].got


@pytest.mark.parametrize('share', [0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match='which cannot be read'):
        read_packed(build(student_config()), path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'CHECKPOINT: expected a packed file, got .*, which does not exist'):
        load_packed(build(student_config()), tmp_path / 'nowhere')
