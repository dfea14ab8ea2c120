"""Class indices from labels that are indices, and from those of a mixed batch."""

import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import WSLD, DKDLoss
from kd_plugins.losses.labels import class_indices

LOGITS = torch.zeros(3, 4)
INDICES = torch.tensor([3, 0, 1])
# 0.6 of the first label and 0.4 of the next sample's; the last two samples are of one class
MIXED = torch.tensor([[0.4, 0.0, 0.0, 0.6], [0.6, 0.4, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
LOSSES = [DKDLoss, lambda **options: WSLD(num_classes=4, **options)]


@pytest.mark.parametrize('labels', ['index', 'argmax'])
@pytest.mark.parametrize('dtype', [torch.int64, torch.int32, torch.uint8])
def test_indices_stay_as_they_are(labels, dtype):
    given = INDICES.to(dtype)
    assert class_indices(given, LOGITS, labels) is given


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_larger_part_of_a_mix(dtype):
    indices = class_indices(MIXED.to(dtype), LOGITS, 'argmax')
    assert indices.tolist() == INDICES.tolist()
    assert not indices.is_floating_point()


def test_of_equal_parts_the_lower_class():
    assert class_indices(torch.tensor([[0.0, 0.5, 0.5, 0.0]]), LOGITS[:1], 'argmax').tolist() == [1]


def test_an_empty_batch():
    assert class_indices(MIXED[:0], LOGITS[:0], 'argmax').shape == (0,)


def test_a_mix_is_refused_with_what_mixes_it():
    with pytest.raises(UserError) as caught:
        class_indices(MIXED, LOGITS, 'index')
    message = str(caught.value)
    for part in ('(3, 4) of torch.float32', 'data_preprocessor.batch_augments', 'train_cfg.augments'):
        assert part in message
    assert "labels='argmax'" in message
    assert 'record them' not in message


@pytest.mark.parametrize(
    'labels', [torch.tensor([[1.0, 0, 0, 1]] * 3), torch.zeros(3, 4), torch.ones(3, 4)], ids=['two', 'none', 'all']
)
def test_several_labels_an_image_have_no_largest(labels):
    with pytest.raises(UserError, match=r'whose sum is 1, got rows with sums from .*BinaryKLDivergence'):
        class_indices(labels, LOGITS, 'argmax')


@pytest.mark.parametrize('labels', [torch.ones(3, 5) / 5, torch.ones(2, 4) / 4, None, torch.ones(3)])
def test_other_labels_are_refused_under_argmax_too(labels):
    with pytest.raises(UserError, match=r'gt_labels: expected the class indices of 3 samples.*; record them'):
        class_indices(labels, LOGITS, 'argmax')


@pytest.mark.parametrize('build', LOSSES, ids=['DKDLoss', 'WSLD'])
def test_a_loss_with_a_mix_is_that_with_its_larger_part(build):
    student, teacher = torch.randn(2, 3, 4)
    assert torch.equal(build(labels='argmax')(student, teacher, MIXED), build()(student, teacher, INDICES))
    with pytest.raises(UserError, match='mixes the labels'):
        build()(student, teacher, MIXED)


@pytest.mark.parametrize('build', LOSSES, ids=['DKDLoss', 'WSLD'])
def test_another_choice_is_refused(build):
    with pytest.raises(UserError, match=r"labels: expected one of 'index', 'argmax', got 'soft'"):
        build(labels='soft')
