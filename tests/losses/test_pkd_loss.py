import pytest
import torch
import torch.nn.functional as F

from kd_plugins.errors import UserError
from kd_plugins.losses import PKDLoss


def one_channel(*values):
    return torch.tensor(values).reshape(1, 1, 1, -1)


def slow_pearson(student, teacher):
    """(M - 1) / M times one minus the correlation, one channel at a time."""
    losses = []
    for channel in range(student.shape[1]):
        rows = torch.stack([side[:, channel].flatten() for side in (student, teacher)])
        losses.append((1 - torch.corrcoef(rows)[0, 1].item()) * (rows.shape[1] - 1) / rows.shape[1])
    return sum(losses) / len(losses)


def pyramid(*sizes, scale=1.0):
    return tuple(torch.randn(2, 3, size, size) * scale for size in sizes)


@pytest.mark.parametrize(
    ('teacher', 'expected'),
    [
        # around the mean: (-1, 0, 1) and (-1, 1, 0), a correlation of 1/2; M = 3
        ((1.0, 3.0, 2.0), 1 / 2 * 2 / 3),
        # the opposite, a correlation of -1
        ((30.0, 20.0, 10.0), 2 * 2 / 3),
        ((11.0, 12.0, 13.0), 0.0),
    ],
)
def test_numbers_worked_out_by_hand(teacher, expected):
    loss = PKDLoss(loss_weight=6)(one_channel(1.0, 2.0, 3.0), one_channel(*teacher))
    assert loss.item() == pytest.approx(6 * expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (2, 3, 2, 3, 4), (4, 3, 1, 1)], ids=str)
def test_equals_a_slow_loop(shape):
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    assert PKDLoss()(student, teacher).item() == pytest.approx(slow_pearson(student, teacher), rel=1e-5)


def test_magnitudes_and_offsets_of_channels_do_not_matter():
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    scaled = student * torch.tensor([2.0, 30.0, 0.5]).reshape(1, 3, 1, 1) + 7
    assert torch.allclose(PKDLoss()(student, teacher), PKDLoss()(scaled, teacher), rtol=1e-4)


@pytest.mark.parametrize('kind', [tuple, list])
def test_levels_are_added_up(kind):
    student, teacher = pyramid(8, 4, 2), pyramid(8, 4, 2)
    each = sum(PKDLoss()(s, t) for s, t in zip(student, teacher, strict=True))
    assert torch.allclose(PKDLoss()(kind(student), tuple(teacher)), each)


@pytest.mark.parametrize(
    ('student', 'teacher', 'mode'),
    [
        ((2, 3, 4, 4), (2, 3, 8, 8), 'bilinear'),
        ((2, 3, 8, 8), (2, 3, 4, 4), 'bilinear'),
        ((2, 3, 4, 4), (2, 3, 4, 6), 'bilinear'),
        ((2, 3, 2, 4, 4), (2, 3, 4, 8, 8), 'trilinear'),
    ],
)
def test_other_sizes_are_resized(student, teacher, mode):
    student, teacher = torch.randn(student), torch.randn(teacher)
    small, large = (
        F.interpolate(student, teacher.shape[2:], mode=mode),
        F.interpolate(teacher, student.shape[2:], mode=mode),
    )
    assert torch.equal(PKDLoss()(student, teacher), PKDLoss()(small, teacher))
    assert torch.equal(PKDLoss(resize_stu=False)(student, teacher), PKDLoss()(student, large))


def test_a_dead_channel_correlates_with_nothing():
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    student[:, 1] = 0.1
    student.requires_grad_()
    loss = PKDLoss()(student, teacher)
    loss.backward()
    others = PKDLoss()(student[:, ::2], teacher[:, ::2]) * 2
    # zeros against numbers of variance 1: a half, but for (M - 1) / M with M = 32
    assert loss.item() == pytest.approx((others.item() + 31 / 64) / 3, rel=1e-5)
    assert student.grad[:, 1].abs().max() == 0


def test_one_number_a_channel_gives_a_zero():
    student = torch.randn(1, 3, 1, 1, requires_grad=True)
    loss = PKDLoss()(student, torch.randn(1, 3, 1, 1))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() == 0


def test_half_precision_inside_of_tuples_is_computed_in_float32():
    student, teacher = ([level.half() for level in pyramid(8, 4, scale=100)] for _ in range(2))
    loss = PKDLoss()(student, teacher)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, PKDLoss()([level.float() for level in student], [level.float() for level in teacher]))
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(loss, PKDLoss()(student, teacher))


def test_an_empty_batch_of_tuples_gives_a_zero_with_a_graph():
    student = [torch.zeros(0, 3, size, size, requires_grad=True) for size in (4, 2)]
    PKDLoss()(student, [torch.zeros(0, 3, size, size) for size in (8, 2)]).backward()
    assert all(level.grad.shape == level.shape for level in student)


@pytest.mark.parametrize(
    ('student', 'teacher', 'message'),
    [
        (pyramid(4, 2), pyramid(4), 'preds_S: expected .* tuples of as many maps, got 2 and 1 of preds_T; record'),
        ((), (), 'preds_S: expected .*, got 0 and 0 of preds_T'),
        (pyramid(4)[0], pyramid(4), 'preds_S: expected a map on both sides.*, got a Tensor; .*data_idx'),
        (pyramid(4), pyramid(4)[0], 'preds_T: expected a map on both sides.*, got a Tensor; .*data_idx'),
        (None, pyramid(4), 'preds_S: .*, got a NoneType'),
        ((None,), pyramid(4), r'preds_S\[0\]: expected a map \(N, C, H, W\).*, got a NoneType'),
        (pyramid(4), (torch.zeros(2, 3),), r'preds_T\[0\]: expected a map .*, got \(2, 3\); record stages'),
        (
            (*pyramid(4), torch.zeros(2, 3, 2, 2)),
            (*pyramid(4), torch.zeros(2, 5, 4, 4)),
            r"preds_S\[1\] \(2, 3, 2, 2\) \(student\) and preds_T\[1\] \(2, 5, 4, 4\) .*ConvModuleConnector', "
            'in_channel=3, out_channel=5',
        ),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4, 4), r'their ranks differ \(4 and 5\)'),
    ],
)
def test_what_does_not_meet_is_refused(student, teacher, message):
    with pytest.raises(UserError, match=message):
        PKDLoss()(student, teacher)
