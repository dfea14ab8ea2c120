import pytest
import torch
import torch.nn.functional as F

from kd_plugins.losses import DistanceWiseRKD

RIGHT = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])  # sides 3, 4 and 5
EQUILATERAL = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])


def slow_distances(points):
    distances = torch.stack([(points - point).square().sum(1).sqrt() for point in points])
    return distances / (distances.sum() / (len(points) ** 2 - len(points)))


def test_number_worked_out_by_hand():
    # in units of their mean: 3/4, 1 and 5/4 beside 1, 1 and 1. Huber: half of (1/4)², for two pairs, each in both
    # orders, over nine
    loss = DistanceWiseRKD(loss_weight=9, with_l2_norm=False)(RIGHT, EQUILATERAL)
    assert loss.item() == pytest.approx(4 * 0.5 / 16, rel=1e-6)


@pytest.mark.parametrize('with_l2_norm', [True, False])
@pytest.mark.parametrize('shape', [(6, 4), (2, 3), (5, 3, 2, 2)], ids=str)
def test_equals_a_slow_loop(shape, with_l2_norm):
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    rows = [side.flatten(1) for side in (student, teacher)]
    if with_l2_norm:
        rows = [row / row.norm(dim=1, keepdim=True) for row in rows]
    expected = 25 * F.smooth_l1_loss(slow_distances(rows[0]), slow_distances(rows[1]))
    assert torch.allclose(DistanceWiseRKD(with_l2_norm=with_l2_norm)(student, teacher), expected, rtol=1e-10)


def test_embeddings_of_other_lengths_meet():
    # turned into more dimensions, scaled and moved, it is the same constellation
    turn = torch.linalg.qr(torch.randn(5, 3))[0]
    student = torch.randn(6, 3)
    assert DistanceWiseRKD(with_l2_norm=False)(student, 4 * student @ turn.T + 1).item() < 1e-8


def test_lengths_do_not_matter_with_l2_norm():
    student, teacher = torch.randn(2, 4, 3)
    scaled = student * torch.tensor([[1.0], [5.0], [0.1], [3.0]])
    assert torch.allclose(DistanceWiseRKD()(scaled, teacher), DistanceWiseRKD()(student, teacher), atol=1e-5)


@pytest.mark.parametrize('with_l2_norm', [True, False])
def test_one_sample_has_no_pairs(with_l2_norm):
    student = torch.randn(1, 4, requires_grad=True)
    loss = DistanceWiseRKD(with_l2_norm=with_l2_norm)(student, torch.randn(1, 4))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() == 0


def test_samples_that_coincide_do_not_pull_at_each_other():
    student, teacher = torch.randn(2, 4, 3)
    student[2] = student[0]
    student.requires_grad_()
    loss = DistanceWiseRKD(with_l2_norm=False)(student, teacher)
    loss.backward()
    expected = 25 * F.smooth_l1_loss(slow_distances(student.detach()), slow_distances(teacher))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert student.grad.abs().max() < 100


def test_close_samples_are_told_apart_in_float32():
    student, teacher = RIGHT / 1000 + 7, EQUILATERAL
    loss = DistanceWiseRKD(loss_weight=9, with_l2_norm=False)(student, teacher)
    assert loss.item() == pytest.approx(4 * 0.5 / 16, rel=1e-2)  # as far as 7.003 is 7.003
