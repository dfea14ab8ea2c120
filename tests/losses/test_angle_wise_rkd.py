import pytest
import torch
import torch.nn.functional as F

from kd_plugins.losses import AngleWiseRKD, angle_wise_rkd

RIGHT = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
EQUILATERAL = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])


def slow_cosines(points):
    cosines = []
    for vertex in points:
        arms = [point - vertex for point in points]
        arms = [arm / arm.norm() if arm.norm() > 0 else arm for arm in arms]
        cosines += [one @ other for one in arms for other in arms]
    return torch.stack(cosines)


def test_number_worked_out_by_hand():
    # angles of 90, 45 and 45 degrees beside 60, each in both orders; the other cosines are 0 or 1 on both sides
    apart = [0.0 - 0.5, 0.5**0.5 - 0.5, 0.5**0.5 - 0.5]
    expected = sum(2 * 0.5 * difference**2 for difference in apart)
    loss = AngleWiseRKD(loss_weight=27, with_l2_norm=False)(RIGHT, EQUILATERAL)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('block', [1, 50, 2**20])
@pytest.mark.parametrize('with_l2_norm', [True, False])
@pytest.mark.parametrize('shape', [(6, 4), (5, 3, 2, 2)], ids=str)
def test_equals_a_slow_loop(shape, with_l2_norm, block, monkeypatch):
    monkeypatch.setattr(angle_wise_rkd, 'BLOCK', block)
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    rows = [side.flatten(1) for side in (student, teacher)]
    if with_l2_norm:
        rows = [row / row.norm(dim=1, keepdim=True) for row in rows]
    expected = 50 * F.smooth_l1_loss(slow_cosines(rows[0]), slow_cosines(rows[1]))
    assert torch.allclose(AngleWiseRKD(with_l2_norm=with_l2_norm)(student, teacher), expected, rtol=1e-10)


@pytest.mark.parametrize('block', [1, 50])
def test_gradient_of_blocks(block, monkeypatch):
    monkeypatch.setattr(angle_wise_rkd, 'BLOCK', block)
    pair = [torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(AngleWiseRKD(), pair)


def test_embeddings_of_other_lengths_meet():
    # turned into more dimensions, scaled and moved, it is the same constellation
    turn = torch.linalg.qr(torch.randn(5, 3))[0]
    student = torch.randn(6, 3)
    assert AngleWiseRKD(with_l2_norm=False)(student, 4 * student @ turn.T + 1).item() < 1e-8


def test_one_sample_has_no_angles():
    student = torch.randn(1, 4, requires_grad=True)
    loss = AngleWiseRKD()(student, torch.randn(1, 4))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() == 0


def test_samples_that_coincide_have_no_direction():
    student, teacher = torch.randn(2, 5, 3)
    student[2] = student[0]
    student.requires_grad_()
    loss = AngleWiseRKD(with_l2_norm=False)(student, teacher)
    loss.backward()
    expected = 50 * F.smooth_l1_loss(slow_cosines(student.detach()), slow_cosines(teacher))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert student.grad.abs().max() < 1000


def test_long_embeddings_that_coincide_have_no_direction():
    # the products of flattened feature maps are rounded more, and differently from row to row
    student = torch.randn(32, 512 * 7 * 7) + 1
    equal = [0, 16, 31]
    student[equal] = student[0].clone()
    student.requires_grad_()
    AngleWiseRKD()(student, torch.randn(32, 8)).backward()
    largest = student.grad.abs().amax(1)
    assert largest[equal].max() < 10 * largest[1]


def test_keeps_neither_differences_nor_angles_for_the_backward(monkeypatch):
    monkeypatch.setattr(angle_wise_rkd, 'BLOCK', 1)
    count, length = 20, 300
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    student = torch.randn(count, length, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = AngleWiseRKD()(student, torch.randn(count, length))
    loss.backward()
    assert max(kept) <= count * length  # the embeddings; the angles are 8,000, and their differences 120,000
