"""Cross entropy of scores and of softened scores with the labels."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample

from kd_plugins.errors import UserError
from kd_plugins.losses import SoftenedCrossEntropy


def test_by_hand():
    """Scores (ln 4, 0) are probabilities 4/5 and 1/5; at temperature 2 they are 2/3 and 1/3."""
    scores = torch.tensor([[math.log(4), 0.0]])
    loss = SoftenedCrossEntropy(tau=2)
    assert loss(scores, torch.tensor([0])).item() == pytest.approx(math.log(5 / 4) + 4 * math.log(3 / 2))
    assert loss(scores, torch.tensor([1])).item() == pytest.approx(math.log(5) + 4 * math.log(3))


@pytest.mark.parametrize('tau', [0.5, 1, 5, 100])
def test_equals_a_slow_loop(tau):
    scores, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2, 0])
    total = 0.0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        for factor, temperature in ((1, 1), (tau**2, tau)):
            softened = [math.exp(score / temperature) for score in row]
            total -= factor * math.log(softened[label] / sum(softened))
    assert SoftenedCrossEntropy(tau, loss_weight=3)(scores, labels).item() == pytest.approx(3 * total / 6)


def test_gradient():
    """softmax(z) - y, and tau times the same of the softened scores."""
    scores, labels = torch.randn(5, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0, 2, 1, 1, 0])
    SoftenedCrossEntropy(tau=4)(scores, labels).backward()
    target = F.one_hot(labels, 3)
    expected = (scores.softmax(1) - target + 4 * ((scores / 4).softmax(1) - target)) / 5
    torch.testing.assert_close(scores.grad, expected.detach())


def test_at_temperature_1_it_is_twice_the_cross_entropy():
    scores, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    torch.testing.assert_close(SoftenedCrossEntropy(tau=1)(scores, labels), 2 * F.cross_entropy(scores, labels))


def test_probabilities_as_labels():
    scores, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    loss = SoftenedCrossEntropy(tau=3)
    torch.testing.assert_close(loss(scores, F.one_hot(labels, 3).float()), loss(scores, labels))


def test_weights_and_avg_factor():
    scores, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    loss = SoftenedCrossEntropy(tau=3)
    weighted = loss(scores, labels, weight=torch.tensor([1.0, 0.0, 0.0, 2.0]), avg_factor=10)
    expected = (loss(scores[:1], labels[:1]) + 2 * loss(scores[3:], labels[3:])) / 10
    torch.testing.assert_close(weighted, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    scores, labels = (torch.randn(4, 3) * 20).to(dtype), torch.tensor([0, 2, 1, 1])
    loss = SoftenedCrossEntropy(tau=100)
    result = loss(scores, labels)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, loss(scores.float(), labels))


def test_empty_batch_is_zero_and_connected():
    scores = torch.zeros(0, 3, requires_grad=True)
    loss = SoftenedCrossEntropy(tau=2)(scores, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad.shape == (0, 3)


def test_a_head_of_mmpretrain_takes_it():
    config = dict(type='LinearClsHead', num_classes=10, in_channels=4)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        head = MODELS.build(dict(config, loss=dict(type='kd_plugins.SoftenedCrossEntropy', tau=5)))
    features, labels = torch.randn(3, 4), torch.tensor([1, 9, 0])
    samples = [DataSample().set_gt_label(label) for label in labels]
    scores = head((features,))
    expected = F.cross_entropy(scores, labels) + 25 * F.cross_entropy(scores / 5, labels)
    torch.testing.assert_close(head.loss((features,), samples)['loss'], expected)


@pytest.mark.parametrize('tau', [0, -1, float('inf'), float('nan'), None, '4'])
def test_bad_temperatures_are_refused(tau):
    with pytest.raises(UserError, match='tau: expected a finite number above 0'):
        SoftenedCrossEntropy(tau)


@pytest.mark.parametrize(
    ('scores', 'labels', 'weight', 'where'),
    [
        (torch.zeros(2, 3, 4), torch.zeros(2, dtype=torch.long), None, 'cls_score'),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), None, 'label'),
        (torch.zeros(2, 3), torch.zeros(2, 4), None, 'label'),
        (torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), torch.zeros(3), 'weight'),
    ],
)
def test_bad_shapes_are_refused(scores, labels, weight, where):
    with pytest.raises(UserError) as error:
        SoftenedCrossEntropy(tau=2)(scores, labels, weight=weight)
    assert error.value.faults[0].where == where
