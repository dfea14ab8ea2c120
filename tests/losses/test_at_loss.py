import math

import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import ATLoss


def slow_attention(student, teacher):
    """The formula of the docstring, one position at a time."""
    total, count = 0.0, 0
    for s_sample, t_sample in zip(student, teacher, strict=True):
        maps = []
        for sample in (s_sample, t_sample):
            energies = [
                sum(value**2 for value in position) / len(position) for position in sample.flatten(1).T.tolist()
            ]
            length = math.sqrt(sum(energy**2 for energy in energies))
            maps.append([energy / length for energy in energies])
        total += sum((s - t) ** 2 for s, t in zip(*maps, strict=True))
        count += len(maps[0])
    return total / count


def test_number_worked_out_by_hand():
    student = torch.tensor([[2.0, 0.0], [2.0, 0.0]]).reshape(1, 2, 1, 2)  # both channels look left
    teacher = torch.tensor([0.0, -5.0]).reshape(1, 1, 1, 2)  # its only channel looks right
    # (1, 0) and (0, 1) differ by 2 over two positions
    assert ATLoss(loss_weight=3)(student, teacher).item() == pytest.approx(3, rel=1e-6)


@pytest.mark.parametrize('shape', [(3, 4, 2, 3), (2, 4, 2, 2, 3), (2, 3, 1, 1)], ids=str)
def test_equals_a_slow_loop(shape):
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    assert ATLoss()(student, teacher).item() == pytest.approx(slow_attention(student, teacher), rel=1e-12)


def test_channels_may_differ():
    student, teacher = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 7, 4, 4, dtype=torch.float64)
    assert ATLoss()(student, teacher).item() == pytest.approx(slow_attention(student, teacher), rel=1e-12)


def test_magnitude_and_sign_do_not_matter():
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    assert torch.allclose(ATLoss()(student, teacher), ATLoss()(-7 * student, teacher))


def test_a_map_of_zeros_attends_to_nothing():
    student = torch.zeros(1, 2, 1, 2, requires_grad=True)
    loss = ATLoss()(student, torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2))
    loss.backward()
    assert loss.item() == 0.5  # its distance from (1, 0) over two positions
    assert student.grad.abs().max() == 0


@pytest.mark.parametrize(
    ('student', 'teacher', 'advice'),
    [
        ((2, 4, 7, 7), (2, 8, 14, 14), 'record stages of the same stride'),
        ((2, 4, 7, 7), (2, 8, 7, 1), 'record stages of the same stride'),
        ((2, 4, 7, 7), (3, 8, 7, 7), 'both models must have seen the same batch'),
        ((2, 4, 7, 7), (2, 4, 3, 7, 7), 'their ranks differ'),
    ],
)
def test_other_positions_are_refused(student, teacher, advice):
    with pytest.raises(UserError) as caught:
        ATLoss()(torch.zeros(student), torch.zeros(teacher))
    for part in (f's_feature {student} (student)', f't_feature {teacher} (teacher)', advice):
        assert part in str(caught.value)


def test_tokens_are_refused_with_the_way_to_make_them_a_map():
    with pytest.raises(UserError, match=r't_feature: expected a map .*, got \(2, 49, 64\); .* TokensToMapConnector'):
        ATLoss()(torch.zeros(2, 64, 7, 7), torch.zeros(2, 49, 64))
