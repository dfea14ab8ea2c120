"""What every loss on predictions has to bear."""

import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import (
    WSLD,
    ActivationLoss,
    BinaryKLDivergence,
    CrossEntropyLoss,
    DISTLoss,
    DKDLoss,
    InformationEntropyLoss,
    KDSoftCELoss,
    OnehotLikeLoss,
)
from kd_plugins.registry import MODELS

CLASSES = 10
ONE = 'one tensor'
TWO = 'two tensors'
LABELLED = 'two tensors and labels'
# name: (class, options, what it takes)
LOSSES = {
    'KDSoftCELoss': (KDSoftCELoss, {}, TWO),
    'KDSoftCELoss sum': (KDSoftCELoss, dict(reduction='sum'), TWO),
    'CrossEntropyLoss': (CrossEntropyLoss, {}, TWO),
    'BinaryKLDivergence': (BinaryKLDivergence, dict(teacher_detach=False), TWO),
    'BinaryKLDivergence mean': (BinaryKLDivergence, dict(teacher_detach=False, reduction='mean'), TWO),
    'DISTLoss': (DISTLoss, dict(teacher_detach=False), TWO),
    'DKDLoss': (DKDLoss, dict(beta=8.0), LABELLED),
    'DKDLoss none': (DKDLoss, dict(reduction='none'), LABELLED),
    'WSLD': (WSLD, dict(num_classes=CLASSES), LABELLED),
    'InformationEntropyLoss': (InformationEntropyLoss, {}, ONE),
    'OnehotLikeLoss': (OnehotLikeLoss, {}, ONE),
    'ActivationLoss abs': (ActivationLoss, {}, ONE),
    'ActivationLoss norm': (ActivationLoss, dict(norm_type='norm'), ONE),
}
NAMES = list(LOSSES)
COMPARING = [name for name in NAMES if LOSSES[name][2] != ONE]
LABELLED_NAMES = [name for name in NAMES if LOSSES[name][2] == LABELLED]
TAU_NAMES = [name for name in COMPARING if 'tau' in LOSSES[name][0].__init__.__annotations__]


def build(name, **options):
    kind, own, _ = LOSSES[name]
    return kind(**{**own, **options})


def inputs(name, student, teacher):
    """The arguments of a loss; every float tensor asks for a gradient."""
    takes = LOSSES[name][2]
    tensors = [tensor.detach().clone().requires_grad_() for tensor in (student, teacher)]
    if takes == LABELLED:
        return [*tensors, torch.arange(len(student)) % CLASSES]
    return tensors[: 1 if takes == ONE else 2]


def assert_finite(name, loss, student, teacher):
    arguments = inputs(name, student, teacher)
    value = loss(*arguments)
    value.sum().backward()
    assert value.dtype in (torch.float32, torch.float64)
    assert value.isfinite().all()
    for tensor in arguments[:2]:
        if tensor.grad is not None:
            assert tensor.grad.dtype == tensor.dtype
            assert tensor.grad.isfinite().all()
    return value, arguments


def random_pair(samples=4, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, samples, CLASSES, generator=generator) * scale


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('samples', [1, 4])
@pytest.mark.parametrize('scale', [1e-30, 1e-6, 1.0, 100.0, 1e4])
def test_huge_and_tiny_logits_are_finite(name, samples, scale):
    assert_finite(name, build(name), *random_pair(samples, scale))


@pytest.mark.parametrize('name', NAMES)
def test_sides_that_are_sure_of_other_classes_are_finite(name):
    student = torch.full((4, CLASSES), -1e4)
    teacher = student.clone()
    student[:, 0], teacher[:, 1] = 1e4, 1e4
    assert_finite(name, build(name), student, teacher)


@pytest.mark.parametrize('name', TAU_NAMES)
@pytest.mark.parametrize('tau', [0.5, 1, 4.0, 100])
@pytest.mark.parametrize('scale', [1e-3, 1.0, 1e4])
def test_temperatures_are_finite(name, tau, scale):
    assert_finite(name, build(name, tau=tau), *random_pair(scale=scale))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('student', [0.0, 5.0, None])
@pytest.mark.parametrize('teacher', [0.0, None])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_constant_logits_are_harmless(name, student, teacher, dtype):
    pair = random_pair().to(dtype)
    for side, value in zip(pair, (student, teacher), strict=True):
        if value is not None:
            side.fill_(value)
    _, arguments = assert_finite(name, build(name), *pair)
    # a batch of unit size has gradients of unit size: none explodes into the model behind
    for tensor in arguments[:2]:
        assert tensor.grad is None or tensor.grad.abs().max() < 100


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    student, teacher = random_pair(scale=30).to(dtype)
    value, _ = assert_finite(name, build(name), student, teacher)
    assert torch.equal(value, build(name)(*inputs(name, student.float(), teacher.float())))
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(value, build(name)(*inputs(name, student, teacher)))


@pytest.mark.parametrize('name', NAMES)
def test_float64_stays_float64(name):
    assert build(name)(*inputs(name, *random_pair().double())).dtype == torch.float64


@pytest.mark.parametrize('name', NAMES)
def test_an_empty_batch_gives_a_zero_with_a_graph(name):
    arguments = inputs(name, *random_pair(0))
    loss = build(name)(*arguments)
    loss.backward()
    assert loss.item() == 0
    assert arguments[0].grad.shape == (0, CLASSES)


@pytest.mark.parametrize('name', NAMES)
def test_loss_weight_multiplies(name):
    arguments = inputs(name, *random_pair())
    assert torch.allclose(build(name, loss_weight=2.5)(*arguments), 2.5 * build(name)(*arguments))


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'CrossEntropyLoss'])
def test_gradient_flows_into_every_tensor(name):
    arguments = inputs(name, *random_pair())
    build(name)(*arguments).sum().backward()
    assert all(tensor.grad.abs().max() > 0 for tensor in arguments[:2] if tensor.is_floating_point())


@pytest.mark.parametrize('name', NAMES)
def test_views_that_are_not_contiguous(name):
    pair = random_pair()
    strided = [side.t().contiguous().t() for side in pair]
    assert torch.allclose(build(name)(*inputs(name, *strided)), build(name)(*inputs(name, *pair)))


@pytest.mark.parametrize('name', COMPARING)
@pytest.mark.parametrize(
    ('student', 'teacher', 'advice'),
    [
        ((4, 10), (4, 100), 'the numbers of classes or channels differ'),
        ((4, 10), (3, 10), 'the same batch'),
        ((4, 10), (4, 10, 2, 2), 'ranks differ (2 and 4)'),
    ],
)
def test_other_shapes_are_refused(name, student, teacher, advice):
    labels = [torch.zeros(4, dtype=torch.long)] if name in LABELLED_NAMES else []
    with pytest.raises(UserError) as caught:
        build(name)(torch.zeros(student), torch.zeros(teacher), *labels)
    for part in (f'{student} (student)', f'{teacher} (teacher)', advice):
        assert part in str(caught.value)


@pytest.mark.parametrize('name', NAMES)
def test_other_ranks_are_refused(name):
    labels = [torch.tensor(0)] if name in LABELLED_NAMES else []
    tensors = [torch.zeros(CLASSES)] * (1 if name not in COMPARING else 2)
    with pytest.raises(UserError, match=r'expected (logits|a feature) \(N, C\).*, got \(10,\); '):
        build(name)(*tensors, *labels)


@pytest.mark.parametrize('name', NAMES)
def test_what_is_no_tensor_is_refused(name):
    labels = [torch.zeros(4, dtype=torch.long)] if name in LABELLED_NAMES else []
    tensors = [(torch.zeros(4, CLASSES),), torch.zeros(4, CLASSES)][: 1 if name not in COMPARING else 2]
    with pytest.raises(UserError, match=r'got a tuple; .*data_idx'):
        build(name)(*tensors, *labels)


@pytest.mark.parametrize('name', LABELLED_NAMES)
@pytest.mark.parametrize(
    ('labels', 'got'),
    [
        (None, 'a NoneType'),
        ([0, 1, 2, 3], 'a list'),
        (torch.zeros(3, dtype=torch.long), r'\(3,\) of torch.int64'),
        (torch.zeros(4, CLASSES + 1), r'\(4, 11\) of torch.float32'),
        (torch.zeros(4), r'\(4,\) of torch.float32'),
    ],
)
def test_labels_that_are_none_are_refused(name, labels, got):
    with pytest.raises(UserError, match=rf'labels: expected the class indices of 4 samples.*, got {got}; record them'):
        build(name)(*random_pair(), labels)


@pytest.mark.parametrize('name', LABELLED_NAMES)
def test_labels_of_other_integers(name):
    arguments = inputs(name, *random_pair())
    narrow = [*arguments[:2], arguments[2].to(torch.int32)]
    assert torch.equal(build(name)(*arguments), build(name)(*narrow))


@pytest.mark.parametrize('name', TAU_NAMES)
@pytest.mark.parametrize('tau', [0, -1, float('nan'), None, '4'])
def test_a_bad_temperature_is_refused(name, tau):
    with pytest.raises(UserError, match=r'tau: expected a finite number above 0, got .*; usual values'):
        build(name, tau=tau)


@pytest.mark.parametrize('kind', [KDSoftCELoss, DKDLoss, BinaryKLDivergence])
@pytest.mark.parametrize('reduction', ['avg', None])
def test_an_unknown_reduction_is_refused(kind, reduction):
    with pytest.raises(UserError, match=rf'reduction: expected one of .*, got {reduction!r}'):
        kind(reduction=reduction)


@pytest.mark.parametrize('kind', sorted({kind for kind, _, _ in LOSSES.values()}, key=lambda kind: kind.__name__))
def test_is_registered(kind):
    built = MODELS.build(dict(type=kind.__name__, loss_weight=3))
    assert type(built) is kind
    assert built.loss_weight == 3
