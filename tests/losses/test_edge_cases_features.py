"""What every loss on features has to bear."""

import inspect

import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import (
    ABLoss,
    AngleWiseRKD,
    ATLoss,
    ChannelWiseDivergence,
    DistanceWiseRKD,
    FTLoss,
    L1Loss,
    MGDLoss,
    OFDLoss,
    PKDLoss,
)
from kd_plugins.registry import MODELS

CHANNELS = 6
# name: (class, options)
LOSSES = {
    'L1Loss': (L1Loss, {}),
    'L1Loss none': (L1Loss, dict(reduction='none')),
    'ABLoss': (ABLoss, {}),
    'ATLoss': (ATLoss, {}),
    'FTLoss': (FTLoss, {}),
    'ChannelWiseDivergence': (ChannelWiseDivergence, {}),
    'PKDLoss': (PKDLoss, {}),
    'MGDLoss': (MGDLoss, dict(alpha_mgd=0.01)),
    'OFDLoss': (OFDLoss, {}),
    'DistanceWiseRKD': (DistanceWiseRKD, dict(loss_weight=1.0)),
    'DistanceWiseRKD plain': (DistanceWiseRKD, dict(loss_weight=1.0, with_l2_norm=False)),
    'AngleWiseRKD': (AngleWiseRKD, dict(loss_weight=1.0)),
    'AngleWiseRKD plain': (AngleWiseRKD, dict(loss_weight=1.0, with_l2_norm=False)),
}
NAMES = list(LOSSES)
# those of which nothing but a map (N, C, H, W) makes sense
MAPS_ONLY = [name for name in NAMES if LOSSES[name][0] in (ATLoss, ChannelWiseDivergence, PKDLoss, MGDLoss)]
RELATIONAL = [name for name in NAMES if LOSSES[name][0] in (DistanceWiseRKD, AngleWiseRKD)]
SAME_SHAPE = [name for name in NAMES if name not in ('ATLoss', 'PKDLoss', *RELATIONAL)]
WEIGHTS = {'MGDLoss': 'alpha_mgd'}


def build(name, **options):
    kind, own = LOSSES[name]
    return kind(**{**own, **options})


def arguments_of(name):
    return list(inspect.signature(LOSSES[name][0].forward).parameters)[1:]


def random_pair(samples=4, scale=1.0, size=(3, 3)):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, samples, CHANNELS, *size, generator=generator) * scale


def run(name, student, teacher):
    """Value and gradients, all of them finite."""
    pair = [side.detach().clone().requires_grad_() for side in (student, teacher)]
    value = build(name)(*pair)
    value.sum().backward()
    assert value.dtype == (torch.float64 if student.dtype == torch.float64 else torch.float32)
    assert value.isfinite().all()
    for side in pair:
        if side.grad is not None:
            assert side.grad.dtype == side.dtype
            assert side.grad.isfinite().all()
    return value, pair


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('samples', [1, 2, 4])
@pytest.mark.parametrize('size', [(1, 1), (3, 4)], ids=str)
@pytest.mark.parametrize('scale', [1e-30, 1e-12, 1e-6, 1.0, 1e4])
def test_huge_and_tiny_features_are_finite(name, samples, size, scale):
    run(name, *random_pair(samples, scale, size))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('student', [0.0, 5.0, 3333.3, None])
@pytest.mark.parametrize('teacher', [0.0, 3.3, None])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_constant_features_are_harmless(name, student, teacher, dtype):
    pair = random_pair().to(dtype)
    for side, value in zip(pair, (student, teacher), strict=True):
        if value is not None:
            side.fill_(value)
    _, pair = run(name, *pair)
    # none explodes into the model behind; those that are no ratios grow with the features themselves
    bound = 10 * (1 + max(side.abs().max() for side in pair))
    for side in pair:
        assert side.grad is None or side.grad.abs().max() < bound


@pytest.mark.parametrize('name', NAMES)
def test_equal_features_have_no_gradient(name):
    student, _ = random_pair()
    value, (student, _) = run(name, student, student)
    if name != 'ABLoss':
        assert value.abs().max() < 1e-6
        assert student.grad.abs().max() < 1e-6


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    student, teacher = random_pair(scale=30).to(dtype)
    value, _ = run(name, student, teacher)
    assert torch.equal(value, build(name)(student.float(), teacher.float()))
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(value, build(name)(student, teacher))


@pytest.mark.parametrize('name', NAMES)
def test_mixed_precisions_meet(name):
    student, teacher = random_pair()
    mixed = build(name)(student.bfloat16(), teacher)
    assert torch.equal(mixed, build(name)(student.bfloat16().float(), teacher))


@pytest.mark.parametrize('name', NAMES)
def test_float64_stays_float64(name):
    run(name, *random_pair().double())


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('samples', [0, 4])
def test_no_numbers_give_a_zero_with_a_graph(name, samples):
    # a batch without samples, and maps without positions
    pair = [side.clone().requires_grad_() for side in random_pair(samples, size=(3, 3) if samples == 0 else (0, 3))]
    loss = build(name)(*pair)
    loss.backward()
    assert loss.item() == 0
    assert pair[0].grad.shape == pair[0].shape


@pytest.mark.parametrize('name', NAMES)
def test_the_weight_multiplies(name):
    pair, weight = random_pair(), WEIGHTS.get(name, 'loss_weight')
    doubled, once = (build(name, **{weight: value})(*pair) for value in (2.0, 1.0))
    assert torch.allclose(doubled, 2 * once)


@pytest.mark.parametrize('name', NAMES)
def test_where_gradient_flows(name):
    _, (student, teacher) = run(name, *random_pair())
    assert student.grad.abs().max() > 0
    if name == 'ABLoss':
        assert teacher.grad is None
    else:
        assert teacher.grad.abs().max() > 0


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('size', [(2, 2), (2, 1, 2)], ids=str)
def test_gradients_are_those_of_differences(name, size):
    pair = [(side.double() + 0.1).requires_grad_() for side in random_pair(3, size=size)]
    assert torch.autograd.gradcheck(build(name), (pair[0], pair[1].detach() if name == 'ABLoss' else pair[1]))


@pytest.mark.parametrize('name', NAMES)
def test_views_that_are_not_contiguous(name):
    pair = random_pair()
    strided = [side.to(memory_format=torch.channels_last) for side in pair]
    assert torch.allclose(build(name)(*strided), build(name)(*pair))


@pytest.mark.parametrize('name', NAMES)
def test_video_is_compared_as_one_map(name):
    video = random_pair(size=(2, 3, 4))
    flat = video.flatten(3, 4)  # (2, N, C, T, H, W) -> (2, N, C, TH, W)
    assert torch.allclose(build(name)(*video).flatten(), build(name)(*flat).flatten())


@pytest.mark.parametrize('name', sorted(set(NAMES) - set(MAPS_ONLY)))
def test_embeddings_are_compared_like_maps_of_one_position(name):
    student, teacher = random_pair(size=(1, 1))
    flat = build(name)(student.flatten(1), teacher.flatten(1))
    assert torch.allclose(flat.flatten(), build(name)(student, teacher).flatten())


@pytest.mark.parametrize('name', SAME_SHAPE)
@pytest.mark.parametrize(
    ('student', 'teacher', 'advice'),
    [
        ((2, 4, 7, 7), (2, 8, 7, 7), "dict(type='ConvModuleConnector', in_channel=4, out_channel=8)"),
        ((2, 4, 7, 7), (2, 4, 7, 1), 'stride'),
        ((2, 4, 7, 7), (3, 4, 7, 7), 'the same batch'),
        ((2, 4, 7, 7), (2, 4), 'ranks differ (4 and 2)'),
    ],
)
def test_other_shapes_are_refused(name, student, teacher, advice):
    with pytest.raises(UserError) as caught:
        build(name)(torch.zeros(student), torch.zeros(teacher))
    s_name, t_name = arguments_of(name)
    for part in (f'{s_name} {student} (student)', f'{t_name} {teacher} (teacher)', advice):
        assert part in str(caught.value)


@pytest.mark.parametrize('name', ['ATLoss', 'PKDLoss', *RELATIONAL])
def test_other_batches_are_refused(name):
    with pytest.raises(UserError, match='both models must have seen the same batch') as caught:
        build(name)(torch.zeros(4, 6, 3, 3), torch.zeros(5, 6, 3, 3))
    for part in ('(4, 6, 3, 3) (student)', '(5, 6, 3, 3) (teacher)'):
        assert part in str(caught.value)


@pytest.mark.parametrize('name', MAPS_ONLY)
@pytest.mark.parametrize('shape', [(4, 6), (4, 6, 9)], ids=str)
def test_what_is_no_map_is_refused(name, shape):
    with pytest.raises(UserError) as caught:
        build(name)(torch.zeros(shape), torch.zeros(shape))
    expected = f'{arguments_of(name)[0]}: expected a map (N, C, H, W) or (N, C, T, H, W), got {shape}; '
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize('name', ['ABLoss', 'OFDLoss', 'FTLoss'])
def test_numbers_without_samples_are_refused(name):
    with pytest.raises(UserError, match=r's_feature: expected a (feature|factor) \(N, C.*, got \(6,\); record'):
        build(name)(torch.zeros(6), torch.zeros(6))


@pytest.mark.parametrize('name', RELATIONAL)
def test_what_is_no_embedding_is_refused(name):
    with pytest.raises(UserError, match=r'preds_S: expected embeddings \(N, C\).*, got \(6,\); record one row'):
        build(name)(torch.zeros(6), torch.zeros(6))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('side', [0, 1])
def test_what_is_no_tensor_is_refused(name, side):
    pair = list(random_pair())
    pair[side] = dict(feature=pair[side])
    if side == 1 and name == 'PKDLoss':
        pair[0] = tuple(pair[0][None])
    with pytest.raises(UserError, match=r'got a dict; .*data_idx') as caught:
        build(name)(*pair)
    assert str(caught.value).startswith(arguments_of(name)[side])


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'PKDLoss'])
def test_tuples_of_maps_are_refused(name):
    student, teacher = random_pair()
    with pytest.raises(UserError, match='got a tuple; choose an element of it with data_idx'):
        build(name)((student,), (teacher,))


@pytest.mark.parametrize('kind', sorted({kind for kind, _ in LOSSES.values()}, key=lambda kind: kind.__name__))
def test_is_registered(kind):
    weight = WEIGHTS.get(kind.__name__, 'loss_weight')
    built = MODELS.build({'type': kind.__name__, weight: 3})
    assert type(built) is kind
    assert getattr(built, weight) == 3
