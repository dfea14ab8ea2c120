import math

import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import ChannelWiseDivergence

# over two positions: (1/2, 1/2) of the student, (3/4, 1/4) of the teacher
DIVERGENCE = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


def slow_divergence(student, teacher, tau):
    """The formula of the docstring, one channel at a time."""
    losses = []
    for s_channel, t_channel in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
        s_weights, t_weights = ([math.exp(v / tau) for v in c.flatten().tolist()] for c in (s_channel, t_channel))
        s_shares, t_shares = ([w / sum(weights) for w in weights] for weights in (s_weights, t_weights))
        losses.append(sum(t * math.log(t / s) for s, t in zip(s_shares, t_shares, strict=True)))
    return tau**2 * sum(losses) / len(losses)


@pytest.mark.parametrize('tau', [1.0, 4])
def test_numbers_worked_out_by_hand(tau):
    student = torch.zeros(1, 2, 1, 2)
    teacher = torch.zeros(1, 2, 1, 2)
    teacher[0, 0, 0, 0] = tau * math.log(3)  # the second channel is the same on both sides
    loss = ChannelWiseDivergence(tau, loss_weight=3)(student, teacher)
    assert loss.item() == pytest.approx(3 * tau**2 * DIVERGENCE / 2, rel=1e-5)


@pytest.mark.parametrize('tau', [0.5, 1, 4.0])
@pytest.mark.parametrize('shape', [(2, 3, 2, 4), (2, 3, 2, 2, 3)], ids=str)
def test_equals_a_slow_loop(shape, tau):
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    loss = ChannelWiseDivergence(tau)(student, teacher)
    assert loss.item() == pytest.approx(slow_divergence(student, teacher, tau), rel=1e-10)


def test_a_channel_is_as_good_with_an_offset_and_channels_do_not_mix():
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    offset = torch.tensor([5.0, -3.0, 0.0]).reshape(1, 3, 1, 1)
    assert torch.allclose(ChannelWiseDivergence()(student + offset, teacher), ChannelWiseDivergence()(student, teacher))


@pytest.mark.parametrize('tau', [0.5, 1, 100.0])
@pytest.mark.parametrize('scale', [1e-3, 1e4])
def test_temperatures_are_finite(tau, scale):
    student, teacher = (torch.randn(2, 2, 3, 4, 4) * scale).unbind()
    student.requires_grad_()
    loss = ChannelWiseDivergence(tau)(student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize('tau', [0, -1, float('nan'), None, '4'])
def test_a_bad_temperature_is_refused(tau):
    with pytest.raises(UserError, match=r'tau: expected a finite number above 0, got .*; usual values'):
        ChannelWiseDivergence(tau=tau)


def test_a_position_that_the_teacher_rules_out_adds_nothing():
    student = torch.zeros(1, 1, 1, 3, requires_grad=True)
    teacher = torch.tensor([[[[0.0, 0.0, -math.inf]]]], requires_grad=True)
    loss = ChannelWiseDivergence()(student, teacher)
    loss.backward()
    # (1/2, 1/2, 0) against (1/3, 1/3, 1/3)
    assert loss.item() == pytest.approx(math.log(1.5), rel=1e-5)
    assert student.grad.isfinite().all()
    assert teacher.grad.isfinite().all()
