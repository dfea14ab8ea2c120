"""The first number that is not finite is found where it came from, and the model stays as it was."""

from contextlib import nullcontext

import pytest
import torch
from mmengine.registry import MODELS
from toy import ToyClassifier, algorithm_config, count_hooks, is_same, logits_only, snapshot, toy_batch

from kd_plugins.engine.diagnosis import diagnose
from kd_plugins.engine.sample_names import sample_names

NAN = float('nan')


def make(**changes):
    algorithm = MODELS.build(dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(**changes))).train()
    # what the first step finds out is known by then
    algorithm(**algorithm.data_preprocessor(toy_batch(4), True), mode='loss')
    return algorithm


def find(model, batch=None):
    return diagnose(model, toy_batch(4) if batch is None else batch, lambda model: nullcontext())


def spoil(tensor):
    with torch.no_grad():
        tensor[(0,) * tensor.dim()] = NAN


def test_inputs():
    batch = toy_batch(4)
    batch['inputs'][2, 0, 0, 0] = NAN
    found = find(make(), batch)
    assert (found.place, found.rows) == ('inputs', (2,))
    assert found.text == 'first not finite: the inputs, after the data_preprocessor'


def test_teacher():
    algorithm = make()
    spoil(algorithm.teacher.conv2.weight)
    found = find(algorithm)
    assert found.place == 'teacher'
    assert found.text == (
        "first not finite: the record of call 1 of 'relu' in the teacher (recorder feature, ModuleOutputs); "
        'weight teacher.conv2.weight is not finite'
    )


def test_student_with_a_teacher_that_is_bad_further_down():
    algorithm = make()
    spoil(algorithm.student.conv1.weight)
    found = find(algorithm)
    assert found.place == 'student'
    assert "the record of 'relu' in the student (recorder feature, ModuleOutputs)" in found.text
    assert found.text.endswith('; weight architecture.conv1.weight is not finite')
    spoil(algorithm.teacher.fc.weight)
    assert "record of 'fc' in the teacher" in find(algorithm).text


def test_connector():
    algorithm = make()
    spoil(next(algorithm.distiller.connectors.parameters()))
    found = find(algorithm)
    assert found.place == 'connector'
    assert 'first not finite: the output of the connector distiller.connectors.widen; ' in found.text
    assert 'weight distiller.connectors.widen.' in found.text


def test_loss():
    algorithm = make()
    algorithm.distiller.distill_losses['loss_feature'].loss_weight = float('inf')
    found = find(algorithm)
    assert found.place == 'loss'
    assert found.text == 'first not finite: the loss distill.loss_feature, of records that are finite'


def test_a_record_of_some_samples_names_them():
    algorithm = make()
    batch = toy_batch(4)
    batch['inputs'][3] = 1e38
    found = find(algorithm, batch)
    assert found.place == 'teacher'
    assert found.rows == (3,)


def test_student_is_its_own_teacher():
    config = algorithm_config(distiller=logits_only())
    config.pop('teacher')
    algorithm = MODELS.build(dict(type='kd_plugins.SelfDistill', **config)).train()
    spoil(algorithm.student.fc.bias)
    assert "the record of 'fc' in the " in find(algorithm).text


def test_nothing():
    found = find(make())
    assert (found.place, found.text) == ('', 'all was finite when the batch was run again')


def test_a_model_that_is_no_distillation():
    model = ToyClassifier().train()
    spoil(model.fc.weight)
    found = find(model)
    assert found.text == 'first not finite: the loss loss, of records that are finite; weight fc.weight is not finite'


def test_a_batch_that_cannot_be_run_again():
    batch = toy_batch(4)
    batch['data_samples'] = torch.tensor([0, 1])
    found = find(make(), batch)
    assert found.place == ''
    assert found.text.startswith('the batch could not be run again (ValueError: ')


def test_everything_is_as_before():
    algorithm = make()
    spoil(algorithm.student.conv1.weight)
    algorithm.student.fc.weight.grad = torch.ones_like(algorithm.student.fc.weight)
    before, hooks, states = snapshot(algorithm), count_hooks(algorithm), torch.get_rng_state()
    find(algorithm)
    after = snapshot(algorithm)
    assert torch.isnan(after.pop('architecture.conv1.weight')).any()
    before.pop('architecture.conv1.weight')
    assert is_same(before, after)
    assert count_hooks(algorithm) == hooks
    assert torch.equal(torch.get_rng_state(), states)
    assert algorithm.student.fc.weight.grad.sum() == algorithm.student.fc.weight.numel()
    assert algorithm.training
    assert all(part.told is None for part in algorithm.distiller.teacher_recorders.parts())


class Sample(dict):
    """As an annotation of OpenMMLab gives its values."""


@pytest.mark.parametrize(
    ('batch', 'rows', 'text'),
    [
        (toy_batch(2), (), 'batch of 2 samples: batch[0], batch[1]'),
        (toy_batch(20), (4,), '1 of the 20 samples: batch[4]'),
        (
            {'inputs': torch.zeros(10), 'data_samples': [Sample(img_path=f'{i}.jpg', sample_idx=i) for i in range(10)]},
            (),
            'batch of 10 samples: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg, 6.jpg, 7.jpg, …',
        ),
        ([torch.zeros(2), [Sample(sample_idx=7), Sample(teacher_row=9)]], (1,), '1 of the 2 samples: teacher_row 9'),
        (None, (), 'batch of 0 samples: '),
    ],
)
def test_names_of_samples(batch, rows, text):
    assert sample_names(batch, rows) == text
