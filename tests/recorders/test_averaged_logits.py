import math

import pytest
import torch
from torch import nn

from kd_plugins.errors import UserError
from kd_plugins.recorders import AveragedLogits
from kd_plugins.registry import TASK_UTILS


class Pair(nn.Module):
    """Two models with a weight each, as the teachers of MultiTeacherDistill."""

    def __init__(self, weights=(1.0, 1.0), classes=(3, 3)):
        super().__init__()
        self.a, self.b = (nn.Sequential(nn.Linear(4, count, bias=False)) for count in classes)
        self.weights = dict(zip(('a', 'b'), weights, strict=True))

    def forward(self, inputs):
        return self.a(inputs), self.b(inputs)


def record(model, inputs, **options):
    recorder = AveragedLogits('0', **options)
    recorder.attach(model)
    with recorder:
        logits = model(inputs)
    return logits, recorder.pop()


@pytest.mark.parametrize('tau', [0.5, 1.0, 4.0, 100.0])
@pytest.mark.parametrize('weights', [(1.0, 1.0), (3.0, 1.0)])
def test_its_probabilities_are_the_mean(weights, tau):
    (a, b), (averaged,) = record(Pair(weights), torch.randn(5, 4) * 3, tau=tau)
    share = weights[0] / sum(weights)
    mean = share * (a / tau).softmax(1) + (1 - share) * (b / tau).softmax(1)
    torch.testing.assert_close((averaged / tau).softmax(1), mean)


def test_numbers_worked_out_by_hand():
    model = Pair()
    with torch.no_grad():
        model.a[0].weight.zero_()
        model.b[0].weight.zero_()
        model.a[0].weight[0, 0] = math.log(4)
    _, (averaged,) = record(model, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    # softmax of (log 4, 0, 0) is (4, 1, 1) / 6 and that of (0, 0, 0) is (1, 1, 1) / 3; their mean is (3, 1.5, 1.5) / 6
    torch.testing.assert_close(averaged.exp(), torch.tensor([[0.5, 0.25, 0.25]]))


def test_huge_logits_stay_finite():
    model = Pair()
    _, (averaged,) = record(model, torch.full((2, 4), 1e6))
    assert averaged.isfinite().all()


def test_half_precision_is_widened():
    model = Pair().to(torch.bfloat16)
    _, (averaged,) = record(model, torch.randn(2, 4, dtype=torch.bfloat16))
    assert averaged.dtype == torch.float32


def test_records_are_forgotten_and_hooks_removed():
    model = Pair()
    recorder = AveragedLogits('0')
    recorder.attach(model)
    with recorder:
        model(torch.randn(2, 4))
    model(torch.randn(2, 4))
    assert len(recorder.pop()) == 1
    assert recorder.pop() == []
    recorder.detach()
    assert not any(module._forward_hooks for module in model.modules())


def test_other_numbers_of_classes():
    with pytest.raises(UserError, match=r'source: expected logits of one shape, got \(2, 3\) of a, \(2, 5\) of b'):
        record(Pair(classes=(3, 5)), torch.randn(2, 4))


def test_unequal_calls():
    class Unequal(Pair):
        def forward(self, inputs):
            return self.a(inputs), self.b(inputs), self.b(inputs)

    with pytest.raises(UserError, match='source: expected as many calls in each teacher, got 1 of a, 2 of b'):
        record(Unequal(), torch.randn(2, 4))


def test_a_source_that_one_teacher_lacks():
    model = Pair()
    model.b = nn.Linear(4, 3)
    with pytest.raises(UserError, match=r"'b.0'"):
        AveragedLogits('0').attach(model)


def test_one_model_has_nothing_to_average():
    with pytest.raises(UserError, match=r'AveragedLogits for a Linear; use it as a teacher source of MultiTeacherDist'):
        AveragedLogits('0').attach(nn.Linear(4, 3))


@pytest.mark.parametrize('tau', [0, -1, float('nan')])
def test_bad_temperature(tau):
    with pytest.raises(UserError, match='tau: expected a finite number above 0'):
        AveragedLogits('0', tau=tau)


def test_built_from_a_config():
    assert isinstance(TASK_UTILS.build(dict(type='AveragedLogits', source='0')), AveragedLogits)


def test_a_class_that_one_or_all_rule_out():
    model = nn.ModuleDict({name: nn.Sequential(nn.Identity()) for name in 'ab'})
    model.weights = dict(a=1.0, b=1.0)
    recorder = AveragedLogits('0')
    recorder.attach(model)
    with recorder:
        model['a'](torch.tensor([[0.0, 0.0, -math.inf, -math.inf]]))
        model['b'](torch.tensor([[0.0, -math.inf, 0.0, -math.inf]]))
    (averaged,) = recorder.pop()
    torch.testing.assert_close(averaged.softmax(1), torch.tensor([[0.5, 0.25, 0.25, 0.0]]))
