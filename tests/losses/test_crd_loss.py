import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement

from kd_plugins.errors import UserError
from kd_plugins.losses import CRDLoss
from kd_plugins.registry import MODELS

SMALL = dict(sample_n=20, dim_out=4, neg_num=6)


def samples(places, contrast=None):
    elements = [BaseDataElement(sample_idx=torch.tensor(place)) for place in places]
    for element, row in zip(elements, contrast or (), strict=contrast is not None):
        element.contrast_sample_idxs = torch.tensor(row)
    return elements


def embeddings(count, size=4, **options):
    return [F.normalize(torch.randn(count, size, **options)).requires_grad_() for _ in range(2)]


def probabilities(loss, s_feats, t_feats, contrast):
    """P of both sides as in the paper, with Z set by this batch."""
    for feats, bank in ((s_feats, loss.contrast.memory_v2), (t_feats, loss.contrast.memory_v1)):
        scores = torch.stack([(bank[row].double() @ feat) / 0.07 for row, feat in zip(contrast, feats, strict=True)])
        yield scores.exp() / (scores.exp().mean() * len(bank))


def test_number_worked_out_by_hand():
    # one image, contrasted with the only other one; both banks are (1, 0), (0, 1), the embeddings (1, 0), tau is 1:
    # exp(scores) are e and 1, Z = 2 (e + 1) / 2, P are e / (e + 1) and 1 / (e + 1), K / n is 1 / 2
    loss = CRDLoss(temperature=1.0, sample_n=2, dim_out=2, neg_num=1, eps=1e-12)
    for bank in (loss.contrast.memory_v1, loss.contrast.memory_v2):
        bank.copy_(torch.eye(2))
    same, other = math.e / (math.e + 1), 1 / (math.e + 1)
    expected = -2 * (math.log(same / (same + 0.5)) + math.log(0.5 / (other + 0.5)))
    value = loss(torch.eye(2)[:1], torch.eye(2)[:1], samples([0], [[0, 1]]))
    assert value.shape == ()
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert loss.contrast.params.tolist() == pytest.approx([1, 1.0, math.e + 1, math.e + 1, 0.5])


def test_equals_the_formula_of_the_paper():
    loss = CRDLoss(**SMALL, loss_weight=0.5).double()
    contrast = torch.randint(20, (3, 7))
    s_feats, t_feats = embeddings(3, dtype=torch.float64)
    noise, eps, expected = 6 / 20, 1e-7, 0.0
    for likely in probabilities(loss, s_feats, t_feats, contrast):
        expected -= (likely[:, 0] / (likely[:, 0] + noise + eps)).log().sum().item()
        expected -= (noise / (likely[:, 1:] + noise + eps)).log().sum().item()
    value = loss(s_feats, t_feats, samples([3, 7, 11], contrast.tolist()))
    assert value.item() == pytest.approx(0.5 * expected / 3, rel=1e-6)


def test_gradient():
    loss = CRDLoss(**SMALL).double()
    data_samples = samples([3, 7], torch.randint(20, (2, 5)).tolist())
    state = {name: value.clone() for name, value in loss.state_dict().items()}
    state['contrast.params'][2:4] = 40.0  # as later than in the first batch

    def fresh(*feats):
        loss.load_state_dict(state)
        return loss(*feats, data_samples)

    assert torch.autograd.gradcheck(fresh, embeddings(2, dtype=torch.float64))


def test_banks_move_towards_the_embeddings():
    loss = CRDLoss(**SMALL, momentum=0.25)
    before = [loss.contrast.memory_v1.clone(), loss.contrast.memory_v2.clone()]
    feats = embeddings(2)
    value = loss(*feats, samples([3, 7]))
    for bank, old, feat in zip((loss.contrast.memory_v1, loss.contrast.memory_v2), before, feats, strict=True):
        assert torch.allclose(bank[[3, 7]], F.normalize(0.25 * old[[3, 7]] + 0.75 * feat))
        rest = [place for place in range(20) if place not in (3, 7)]
        assert torch.equal(bank[rest], old[rest])
        assert not bank.requires_grad
    value.backward()  # of what was remembered before the move


def test_gradient_is_that_of_the_banks_before_they_move():
    loss, feats = CRDLoss(**SMALL), embeddings(2)
    contrast = [[3, 7, 3], [7, 3, 7]]
    bank = loss.contrast.memory_v2.clone()
    (gradient,) = torch.autograd.grad(loss(*feats, samples([3, 7], contrast)), feats[0])
    likely = torch.stack([bank[row] @ feat for row, feat in zip(contrast, feats[0], strict=True)]) / 0.07
    likely = likely.exp() / (likely.exp().mean().detach() * 20)
    direct = -(likely[:, 0] / (likely + 0.1)[:, 0]).log().sum() - (0.1 / (likely + 0.1)[:, 1:]).log().sum()
    assert torch.allclose(gradient, torch.autograd.grad(direct / 2, feats[0])[0], rtol=1e-4, atol=1e-5)


def test_z_is_set_once():
    loss = CRDLoss(**SMALL)
    assert loss.contrast.params[2:4].tolist() == [-1, -1]
    loss(*embeddings(3), samples([0, 1, 2]))
    first = loss.contrast.params.clone()
    assert (first[2:4] > 0).all()
    loss(*embeddings(3), samples([3, 4, 5]))
    assert torch.equal(loss.contrast.params, first)


def test_a_checkpoint_brings_banks_and_z_back():
    loss, resumed = CRDLoss(**SMALL), CRDLoss(**SMALL)
    loss(*embeddings(3), samples([0, 1, 2]))
    assert set(loss.state_dict()) == {'contrast.params', 'contrast.memory_v1', 'contrast.memory_v2'}
    resumed.load_state_dict(loss.state_dict())
    feats, data_samples = embeddings(2), samples([3, 4], [[3, 0, 1], [4, 0, 2]])
    assert torch.equal(loss(*feats, data_samples), resumed(*feats, data_samples))


def test_images_to_compare_with_are_drawn_uniformly():
    loss, seen = CRDLoss(sample_n=5, dim_out=2, neg_num=2000), []
    loss.contrast.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2]))
    loss(*embeddings(3, 2), samples([4, 0, 2]))
    (candidates,) = seen
    assert candidates.shape == (3, 2001)
    assert candidates[:, 0].tolist() == [4, 0, 2]
    shares = candidates[:, 1:].flatten().bincount(minlength=5) / 6000
    assert (shares - 0.2).abs().max() < 0.03  # six standard deviations


def test_the_number_of_images_is_that_of_the_samples_where_they_bring_them():
    # K / n follows: 2 of 20, not the 6 that are drawn otherwise
    feats, contrast = embeddings(2), [[3, 0, 1], [7, 2, 4]]
    losses = [CRDLoss(**{**SMALL, 'neg_num': count}) for count in (2, 6)]
    losses[1].contrast.load_state_dict(losses[0].contrast.state_dict())
    values = [loss(*feats, samples([3, 7], contrast)) for loss in losses]
    assert torch.equal(*values)


@pytest.mark.parametrize('place', [3, torch.tensor(3), torch.tensor(3, dtype=torch.int32)])
def test_a_place_may_be_a_number_in_the_meta_information(place):
    # mmpretrain's PackInputs puts it there
    element = BaseDataElement()
    element.set_field(place, 'sample_idx', field_type='metainfo')
    loss = CRDLoss(**SMALL)
    before = loss.contrast.memory_v1.clone()
    loss(*embeddings(1), [element])
    assert (loss.contrast.memory_v1 != before).any(dim=1).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize('count', [1, 3])
@pytest.mark.parametrize('temperature', [0.01, 0.07, 100.0])
@pytest.mark.parametrize('scale', [1e4, 1.0, 1e-4, 0.0])
def test_values_and_gradients_are_finite(scale, temperature, count):
    loss = CRDLoss(**SMALL, temperature=temperature)
    for _ in range(2):
        feats = [(feat.detach() * scale).requires_grad_() for feat in embeddings(count)]
        value = loss(*feats, samples(range(count)))
        value.backward()
        assert value.isfinite()
        assert all(feat.grad.isfinite().all() for feat in feats)
        assert all(buffer.isfinite().all() for buffer in loss.buffers())


def test_many_unlikely_images_keep_their_digits():
    # P is 1 / n each, and log(K / n / (P + K / n)) is about -1 / K, of which 1 - x in float32 holds four digits
    options = dict(sample_n=50, dim_out=4, neg_num=16384)
    feats, data_samples = embeddings(2), samples([3, 7])
    loss = CRDLoss(**options)
    wide = CRDLoss(**options).double()
    wide.load_state_dict(loss.state_dict())
    values = []
    for module, dtype in ((loss, torch.float32), (wide, torch.float64)):
        torch.manual_seed(0)
        values.append(module(*(feat.to(dtype) for feat in feats), data_samples).item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize('bring', [True, False])
def test_nothing_waits_for_the_device(bring):
    # on the device meta there is no number to wait for: reading one raises
    loss = CRDLoss(**SMALL).to('meta')
    feats = [torch.zeros(2, 4, device='meta', requires_grad=True) for _ in range(2)]
    elements = samples([3, 7], [[3, 0, 1], [7, 2, 4]] if bring else None)
    forward = CRDLoss.forward.__wrapped__  # autocast does not know the device
    forward(loss, *feats, [element.to('meta') for element in elements]).backward()
    with pytest.raises(RuntimeError):
        feats[0].sum().item()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    loss, copy = CRDLoss(**SMALL), CRDLoss(**SMALL)
    copy.load_state_dict(loss.state_dict())
    feats = [feat.detach().to(dtype).requires_grad_() for feat in embeddings(2)]
    data_samples = samples([3, 7], [[3, 0, 1], [7, 2, 4]])
    with torch.autocast('cpu', torch.bfloat16):
        value = loss(*feats, data_samples)
    assert value.dtype == torch.float32
    assert torch.equal(value, copy(*(feat.float() for feat in feats), data_samples))
    value.backward()
    assert all(feat.grad.isfinite().all() for feat in feats)


def test_a_bank_in_half_precision_works():
    loss = CRDLoss(**SMALL).half()
    value = loss(*(feat.half() for feat in embeddings(2)), samples([3, 7]))
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert loss.contrast.memory_v1.dtype == torch.float16


def test_an_empty_batch_gives_a_zero_with_a_graph_and_moves_nothing():
    loss = CRDLoss(**SMALL)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    feats = [torch.zeros(0, 4, requires_grad=True) for _ in range(2)]
    value = loss(*feats, [])
    value.backward()
    assert value.item() == 0
    assert all(feat.grad.shape == (0, 4) for feat in feats)
    assert all(torch.equal(loss.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ('s_feats', 't_feats', 'data_samples', 'messages'),
    [
        (torch.zeros(2, 4), torch.zeros(2, 5), samples([0, 1]), ['s_feats (2, 4)', 't_feats (2, 5)']),
        (torch.zeros(2, 4, 1, 1), torch.zeros(2, 4, 1, 1), samples([0, 1]), ['s_feats: expected', 'CRDConnector']),
        (torch.zeros(2, 5), torch.zeros(2, 5), samples([0, 1]), ['embeddings (N, 4)', '(2, 5)', 'the same dim_out']),
        (torch.zeros(2, 4), torch.zeros(2, 4), samples([0]), ['data_samples: expected a list of 2', 'got 1']),
        (torch.zeros(2, 4), torch.zeros(2, 4), None, ['data_samples: expected a list of 2', 'got NoneType']),
        (
            torch.zeros(2, 4),
            torch.zeros(2, 4),
            [*samples([0]), BaseDataElement()],
            ['data_samples.sample_idx', 'none in sample 1', 'PackCRDClsInputs'],
        ),
        (torch.zeros(2, 4), torch.zeros(2, 4), samples([[0], [1]]), ['data_samples.sample_idx', '(1,)']),
        (torch.zeros(2, 4), torch.zeros(2, 4), samples([0.0, 1.0]), ['whole number', 'torch.float32']),
        (torch.zeros(2, 4), torch.zeros(2, 4), samples([0, 20]), ['indices in [0, 20)', 'got 0 to 20', 'sample_n']),
        (torch.zeros(2, 4), torch.zeros(2, 4), samples([-1, 3]), ['got -1 to 3']),
        (
            torch.zeros(2, 4),
            torch.zeros(2, 4),
            [*samples([0], [[0, 1]]), *samples([1])],
            ['contrast_sample_idxs', 'none in sample 1'],
        ),
        (torch.zeros(2, 4), torch.zeros(2, 4), samples([0, 1], [[0, 3], [1, 20]]), ['contrast', 'got 0 to 20']),
        (torch.zeros(2, 4), torch.zeros(2, 4), samples([0, 1], [[0, 3], [1, 2, 3]]), ['equally many', '(3,)']),
        (torch.zeros(2, 4), torch.zeros(2, 4), samples([0, 1], [[0], [1]]), ['2 or more', '(1,)']),
    ],
)
def test_other_inputs_are_refused(s_feats, t_feats, data_samples, messages):
    with pytest.raises(UserError) as caught:
        CRDLoss(**SMALL)(s_feats, t_feats, data_samples)
    assert [message for message in messages if message not in str(caught.value)] == []


@pytest.mark.parametrize(
    'options',
    [
        dict(temperature=0),
        dict(temperature=-0.07),
        dict(neg_num=0),
        dict(neg_num=2.5),
        dict(sample_n=0),
        dict(dim_out=True),
        dict(momentum=1),
        dict(momentum=-0.1),
        dict(eps=0.0),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(options):
    with pytest.raises(UserError, match=f'{next(iter(options))}: expected'):
        CRDLoss(**{**SMALL, **options})


def test_is_registered():
    loss = MODELS.build(dict(type='CRDLoss', loss_weight=0.8))
    assert loss.loss_weight == 0.8
    assert loss.contrast.memory_v1.shape == (50000, 128)
    assert loss.contrast.params.tolist() == pytest.approx([16384, 0.07, -1, -1, 0.5])
