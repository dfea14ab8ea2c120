import math

import pytest
import torch

from kd_plugins.connectors import FBKDStudentConnector, FBKDTeacherConnector
from kd_plugins.errors import UserError
from kd_plugins.losses import FBKDLoss
from kd_plugins.registry import MODELS

WEIGHTS = ('mask_l2_weight', 'channel_weight', 'spatial_weight', 'nonloacl_weight')
NONE = dict.fromkeys(WEIGHTS, 0.0)


def sides(shape=(2, 3, 4, 5), dtype=torch.float32, scale=1.0):
    """Random parts of a student and of a teacher, with masks above 0; all of them leaves."""
    count, channels, height, width = shape
    pooled, vector = (count, 1, height, width), (count, channels)

    def parts(*shapes):
        masks = [torch.rand(pooled) + 0.1, torch.rand(*vector, 1, 1) + 0.1]
        drawn = [*masks, *(torch.randn(one) * scale for one in shapes)]
        return tuple(part.to(dtype).requires_grad_() for part in drawn)

    return parts(vector, pooled, shape, shape), parts(pooled, shape, shape)


def changed(parts, **changes):
    return tuple(changes.get(f'part{index}', part) for index, part in enumerate(parts))


@pytest.mark.parametrize(
    ('weights', 'expected'),
    [
        # one sample of two channels at two positions, the teacher all 2 and the student all 1, the mask 1 and 3:
        # 2 channels * (1 * 1 + 3 * 1) = 8
        (dict(mask_l2_weight=1.0), math.sqrt(8)),
        # averages over positions 2, 2 and 5, 6: 9 + 16
        (dict(channel_weight=2.0), 10.0),
        # averages over channels 1, 1 and 2, 2
        (dict(spatial_weight=3.0), 3 * math.sqrt(2)),
        # four elements of 4 and of 1
        (dict(nonloacl_weight=1.0), 6.0),
        (dict(spatial_weight=3.0, nonloacl_weight=1.0, loss_weight=0.5), (3 * math.sqrt(2) + 6) / 2),
    ],
)
def test_numbers_worked_out_by_hand(weights, expected):
    ones = torch.ones(1, 2, 1, 2)
    channel_mask = torch.full((1, 2, 1, 1), 7.0)  # does not count
    s_mask, t_mask = torch.tensor([[[[0.5, 2.0]]]]), torch.tensor([[[[1.5, 4.0]]]])
    student = (s_mask, channel_mask, torch.tensor([[5.0, 6.0]]), ones[:, :1] * 2, ones, ones)
    teacher = (t_mask, channel_mask, ones[:, :1], ones * 4, ones * 2)
    loss = FBKDLoss(**{**NONE, **weights})(student, teacher)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_gradient():
    student, teacher = sides((2, 2, 2, 3), torch.float64)
    loss = FBKDLoss(0.5, 0.25, 2.0, 0.125, 3.0)
    moving = (*student[2:], *teacher[2:])

    def of_parts(*parts):
        return loss((*student[:2], *parts[:4]), (*teacher[:2], *parts[4:]))

    assert torch.autograd.gradcheck(of_parts, moving)


def test_masks_get_no_gradient_and_all_else_does():
    student, teacher = sides()
    FBKDLoss()(student, teacher).backward()
    assert all(part.grad is None for part in (*student[:2], *teacher[:2]))
    assert all(part.grad.any() for part in (*student[2:], *teacher[2:]))


def test_equal_sides_give_zero_without_gradient():
    _, teacher = sides()
    mask, channel_mask, spatial, relation, feature = (part.detach() for part in teacher)
    student = tuple(
        part.clone().requires_grad_() for part in (mask, channel_mask, feature.mean((2, 3)), spatial, relation, feature)
    )
    loss = FBKDLoss()(student, teacher)
    loss.backward()
    assert loss.item() == 0
    # mmrazor's square root of a sum of zeros has an infinite slope
    assert not any(part.grad.any() for part in student[2:])


@pytest.mark.parametrize('shape', [(1, 3, 4, 4), (2, 3, 1, 1), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize('scale', [1e4, 1e-4, 0.0])
def test_values_and_gradients_are_finite(shape, scale):
    student, teacher = sides(shape, scale=scale)
    loss = FBKDLoss()(student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert all(part.grad.isfinite().all() for part in (*student[2:], *teacher[2:]))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = sides((2, 3, 16, 16), dtype, scale=300)
    loss = FBKDLoss()(student, teacher)
    wide = [[part.detach().float() for part in side] for side in (student, teacher)]
    assert loss.dtype == torch.float32
    assert torch.equal(loss, FBKDLoss()(*wide))
    loss.backward()
    assert all(part.grad.isfinite().all() for part in (*student[2:], *teacher[2:]))


def test_an_empty_batch_gives_a_zero_with_a_graph():
    student, teacher = sides((0, 3, 4, 4))
    loss = FBKDLoss()(student, teacher)
    loss.backward()
    assert loss.item() == 0
    assert all(part.grad.shape == part.shape for part in (*student[2:], *teacher[2:]))


def test_what_the_connectors_return_is_taken():
    student, teacher = FBKDStudentConnector(4), FBKDTeacherConnector(4)
    s_feature, t_feature = torch.randn(2, 2, 4, 6, 6).unbind()
    FBKDLoss()(student(s_feature), teacher(t_feature)).backward()
    # behind a norm that begins as zero, only the norm moves at first
    assert teacher.teacher_non_local.conv_out.norm.weight.grad.any()
    assert student.adaptation_layers.weight.grad.any()


@pytest.mark.parametrize(
    ('spoil', 'messages'),
    [
        (lambda s, t: (t, s), ['s_input: expected the 6 tensors of a FBKDStudentConnector, got 5']),
        (lambda s, t: (s[0], t), ['s_input: expected the 6 tensors', 'got a Tensor']),
        (lambda s, t: (s, None), ['t_input: expected the 5 tensors of a FBKDTeacherConnector, got a NoneType']),
        (lambda s, t: ((*s[:5], None), t), ['s_input: expected the 6 tensors']),
        (lambda s, t: (changed(s, part5=torch.zeros(2, 4, 4, 5)), t), ['s_input (2, 4, 4, 5)', 'channels differ']),
        (lambda s, t: (changed(s, part5=torch.zeros(3, 3, 4, 5)), t), ['the same batch']),
        (lambda s, t: (changed(s, part2=torch.zeros(2, 4)), t), ['s_input channel_pool', '(2, 3)', '(2, 4)']),
        (lambda s, t: (s, changed(t, part0=torch.zeros(2, 1, 4, 4))), ['t_input spatial_mask', '(2, 1, 4, 5)']),
        (lambda s, t: (s, changed(t, part3=torch.zeros(2, 3))), ['t_input relation', '(2, 3, 4, 5)']),
        (
            lambda s, t: (changed(s, part5=torch.zeros(2, 3)), changed(t, part4=torch.zeros(2, 3))),
            ['t_input: expected a map (N, C, H, W)'],
        ),
    ],
)
def test_other_inputs_are_refused(spoil, messages):
    with pytest.raises(UserError) as caught:
        FBKDLoss()(*spoil(*sides()))
    assert all(message in str(caught.value) for message in messages)


def test_is_registered():
    loss = MODELS.build(dict(type='FBKDLoss', loss_weight=2))
    assert [getattr(loss, name) for name in WEIGHTS] == [7e-5, 4e-3, 4e-3, 7e-5]
    assert loss.loss_weight == 2
