"""Heat maps of records: what they show, and the picture they end in."""

import cv2
import numpy as np
import pytest
import torch

from kd_plugins.visualize import Meeting, Prepared, draw_grid
from kd_plugins.visualize.grid import as_map, difference_of


@pytest.mark.parametrize(
    ('shape', 'found'),
    [
        ((8, 3, 5), (8, 3, 5)),
        ((8, 1, 1), None),
        ((9, 8), (8, 3, 3)),
        ((10, 8), (8, 3, 3)),  # a class token before nine others
        ((7, 8), None),
        ((8,), None),
    ],
)
def test_what_has_places_is_a_map(shape, found):
    laid_out = as_map(torch.zeros(shape))
    assert (None if laid_out is None else tuple(laid_out.shape)) == found


def test_tokens_keep_their_places():
    tokens = torch.arange(4.0)[:, None].expand(4, 2)
    assert as_map(tokens)[0].tolist() == [[0, 1], [2, 3]]


def test_the_difference_of_equal_channels_is_theirs():
    student, teacher = torch.zeros(2, 1, 2), torch.tensor([[[1.0, 0.0]], [[-3.0, 0.0]]])
    assert difference_of(student, teacher).tolist() == [[2.0, 0.0]]  # (1 + 3) / 2


def test_other_channels_are_compared_as_maps():
    student, teacher = torch.tensor([[[2.0, 1.0]]]), torch.tensor([[[0.0, 4.0]], [[0.0, 4.0]]])
    assert difference_of(student, teacher).tolist() == [[1.0, 0.5]]  # 2/2 - 0 and 1/2 - 4/4


def test_the_teacher_is_brought_to_the_students_size():
    assert difference_of(torch.ones(3, 4, 6), torch.ones(3, 2, 3)).max() == 0


def test_a_row_for_each_loss(tmp_path):
    image = Prepared('cat', np.full((20, 30, 3), 128, np.uint8), None)
    meetings = [
        Meeting('loss_map', torch.rand(4, 5, 8), torch.rand(6, 5, 8)),
        Meeting('loss_logits', torch.rand(10), torch.rand(10)),
        Meeting('loss_other', torch.rand(10), torch.rand(12)),
    ]
    heights = []
    for count in (1, 3):
        draw_grid(image, meetings[:count], (20, 32), tmp_path / f'{count}.png')
        picture = cv2.imread(str(tmp_path / f'{count}.png'))
        assert picture.std() > 5
        heights.append(picture.shape[0])
    assert heights[1] > 2 * heights[0]
