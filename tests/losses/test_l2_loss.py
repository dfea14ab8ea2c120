import itertools
import math

import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import L2Loss
from kd_plugins.registry import MODELS

SHAPES = [(3, 5), (3, 4, 2, 3)]
OPTIONS = list(itertools.product([True, False], [1.0, 2.5], [True, False], [True, False]))


def slow_l2(student, teacher, loss_weight, normalize, mult, div_element, dist):
    """The formula of the docstring, one number at a time."""
    total, elements = 0.0, 0
    for s_sample, t_sample in zip(student, teacher, strict=True):
        s_values, t_values = s_sample.flatten().tolist(), t_sample.flatten().tolist()
        if normalize:
            s_length = math.sqrt(sum(value**2 for value in s_values))
            t_length = math.sqrt(sum(value**2 for value in t_values))
            s_values = [value / s_length * mult for value in s_values]
            t_values = [value / t_length * mult for value in t_values]
        total += sum((s - t) ** 2 for s, t in zip(s_values, t_values, strict=True))
        elements += len(s_values)
    if dist:
        return loss_weight * math.sqrt(total)
    return loss_weight * total / (elements if div_element else len(student))


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        # (3, 4) and (0, 5) scaled to length 1 are (0.6, 0.8) and (0, 1): 0.6² + 0.2² = 0.4
        (dict(), 0.4),
        # lengths doubled, squares quadrupled
        (dict(mult=2.0), 1.6),
        # 3² + 1² = 10 over one sample
        (dict(normalize=False), 10.0),
        # … over two elements
        (dict(normalize=False, div_element=True), 5.0),
        (dict(normalize=False, dist=True), math.sqrt(10)),
        (dict(normalize=False, loss_weight=0.5), 5.0),
    ],
)
def test_numbers_worked_out_by_hand(options, expected):
    loss = L2Loss(**options)(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 5.0]]))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_batch_is_averaged():
    # the first sample gives 0.4 (above), the second 0
    loss = L2Loss()(torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[0.0, 5.0], [2.0, 2.0]]))
    assert loss.item() == pytest.approx(0.2, rel=1e-6)


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize(('normalize', 'mult', 'div_element', 'dist'), OPTIONS)
def test_equals_a_slow_loop(shape, normalize, mult, div_element, dist):
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    loss = L2Loss(3.0, normalize, mult, div_element, dist)(student, teacher)
    expected = slow_l2(student, teacher, 3.0, normalize, mult, div_element, dist)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize(('normalize', 'mult', 'div_element', 'dist'), OPTIONS)
def test_gradient(shape, normalize, mult, div_element, dist):
    student, teacher = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(L2Loss(2.0, normalize, mult, div_element, dist), (student, teacher))


def test_gradient_worked_out_by_hand():
    student = torch.tensor([[3.0, 4.0]], requires_grad=True)
    L2Loss(normalize=False)(student, torch.tensor([[0.0, 5.0]])).backward()
    assert student.grad.tolist() == [[6.0, -2.0]]  # 2 (s - t) / N


def test_works_on_views_that_are_not_contiguous():
    student, teacher = torch.randn(2, 3, 4, 4, 5).transpose(2, 4)
    assert torch.allclose(L2Loss()(student, teacher), L2Loss()(student.contiguous(), teacher.contiguous()))


@pytest.mark.parametrize('options', [dict(), dict(normalize=False), dict(dist=True)])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(options, dtype):
    loss = L2Loss(**options)
    student = (torch.randn(4, 8, 16, 16) * 30).to(dtype).requires_grad_()
    teacher = (torch.randn(4, 8, 16, 16) * 30).to(dtype)
    value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(student.float(), teacher.float()))  # a float16 sum would overflow at 65504
    value.backward()
    assert student.grad.dtype == dtype
    assert student.grad.isfinite().all()


def test_mixed_precisions_meet():
    student, teacher = torch.randn(2, 4, 8).bfloat16(), torch.randn(2, 4, 8)
    assert torch.equal(L2Loss()(student, teacher), L2Loss()(student.float(), teacher))


def test_autocast_changes_nothing():
    student, teacher = torch.randn(2, 4, 8, 3, 3)
    with torch.autocast('cpu', torch.bfloat16):
        value = L2Loss()(student, teacher)
        narrow = L2Loss()(student.bfloat16(), teacher.bfloat16())
    assert value.dtype == narrow.dtype == torch.float32
    assert torch.equal(value, L2Loss()(student, teacher))
    assert torch.equal(narrow, L2Loss()(student.bfloat16().float(), teacher.bfloat16().float()))


@pytest.mark.parametrize('options', [dict(), dict(normalize=False), dict(div_element=True), dict(dist=True)])
def test_an_empty_batch_gives_a_zero_with_a_graph(options):
    student = torch.zeros(0, 8, 4, 4, requires_grad=True)
    loss = L2Loss(**options)(student, torch.zeros(0, 8, 4, 4))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.shape == student.shape


@pytest.mark.parametrize('side', ['student', 'teacher', 'both'])
@pytest.mark.parametrize('options', [dict(), dict(dist=True)])
def test_a_feature_of_zeros_stays_zero_and_harmless(side, options):
    student = torch.zeros(2, 8) if side != 'teacher' else torch.ones(2, 8)
    teacher = torch.zeros(2, 8) if side != 'student' else torch.ones(2, 8)
    student.requires_grad_()
    loss = L2Loss(**options)(student, teacher)
    loss.backward()
    # one sample's distance from nothing to length 1 is 1
    expected = 0 if side == 'both' else math.sqrt(2) if options else 1
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    # it has no direction that could be followed, and must not blow up the model behind it
    assert student.grad.abs().max() < 1e3


def test_equal_features_have_no_gradient():
    student = torch.randn(2, 8, requires_grad=True)
    L2Loss(dist=True)(student, student.detach().clone()).backward()
    assert student.grad.abs().max() == 0


@pytest.mark.parametrize(
    ('s_shape', 't_shape', 'advice'),
    [
        ((2, 4, 7, 7), (2, 8, 7, 7), "dict(type='ConvModuleConnector', in_channel=4, out_channel=8)"),
        ((2, 4, 7, 7), (2, 4, 14, 14), 'stride'),
        ((2, 4, 7, 7), (3, 4, 7, 7), 'the same batch'),
        ((2, 4, 7, 7), (2, 4), 'ranks differ (4 and 2)'),
        ((2, 4), (2, 8), 'the numbers of classes or channels differ'),
    ],
)
def test_other_shapes_are_refused(s_shape, t_shape, advice):
    with pytest.raises(UserError) as caught:
        L2Loss()(torch.zeros(s_shape), torch.zeros(t_shape))
    message = str(caught.value)
    assert 's_feature' in message
    assert 't_feature' in message
    assert str(s_shape) in message
    assert str(t_shape) in message
    assert advice in message


@pytest.mark.parametrize(('student', 'name'), [((torch.zeros(2, 3),), 's_feature'), (None, 's_feature')])
def test_what_is_no_tensor_is_refused(student, name):
    with pytest.raises(UserError, match='data_idx') as caught:
        L2Loss()(student, torch.zeros(2, 3))
    assert name in str(caught.value)


def test_is_registered():
    assert MODELS.build(dict(type='L2Loss', loss_weight=10)).loss_weight == 10
