"""Heat maps of records: what they show, and the picture they end in."""

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

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


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, 'savefig', lambda figure, *args, **kwargs: saved.append(figure) or save(figure, *args))
    return saved


def image_of(height, width):
    return Prepared('cat', np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8), None)


def test_a_column_for_each_side(tmp_path, figures):
    image = image_of(20, 30)
    student, teacher = torch.rand(4, 5, 8), 10 + torch.rand(4, 5, 8)
    draw_grid(image, [Meeting('loss_map', student, teacher)], (24, 32), tmp_path / 'cat.png')

    (figure,) = figures
    pictures, maps = {}, {}
    # those of the colour bars have no such picture
    for axes in figure.axes[:4]:
        name = axes.get_title().splitlines()[0]
        pictures[name], *maps[name] = axes.get_images()
    assert list(maps) == ['image', 'student', 'teacher', 'difference']
    assert maps.pop('image') == []
    assert figure.axes[0].get_ylabel() == 'loss_map'
    for picture in pictures.values():
        np.testing.assert_array_equal(picture.get_array(), image.pixels)
    expected = dict(
        student=student.abs().mean(0), teacher=teacher.abs().mean(0), difference=(student - teacher).abs().mean(0)
    )
    for name, (heat,) in maps.items():
        np.testing.assert_allclose(heat.get_array(), expected[name], rtol=1e-6)
        assert heat.get_clim() == pytest.approx((0, float(expected[name].max())))
        # a map covers the padded batch, of which the image is the upper left
        assert tuple(heat.get_extent()) == (0, 32, 24, 0)
        assert tuple(pictures[name].get_extent()) == (0, 30, 20, 0)
        assert (heat.axes.get_xlim(), heat.axes.get_ylim()) == ((0, 30), (20, 0))
    shapes = [axes.get_title().splitlines()[1:] for axes in figure.axes[:4]]
    assert shapes == [[], ['4 x 5 x 8'], ['4 x 5 x 8'], ['5 x 8']]


@pytest.mark.parametrize('classes', [10, 12])
def test_vectors_are_bars(tmp_path, figures, classes):
    student, teacher = torch.rand(10), torch.rand(classes)
    draw_grid(image_of(20, 30), [Meeting('loss_logits', student, teacher)], (20, 30), tmp_path / 'cat.png')

    _, *columns = figures[0].axes
    drawn = [[bar.get_height() for bar in axes.patches] for axes in columns]
    # vectors of different lengths have no difference
    difference = student - teacher if classes == 10 else torch.zeros(0)
    for heights, vector in zip(drawn, (student, teacher, difference), strict=True):
        assert heights == pytest.approx(vector.tolist())
    assert [axes.axison for axes in columns] == [True, True, classes == 10]


def test_a_row_for_each_loss(tmp_path, figures):
    image = image_of(20, 30)
    names = ['loss_map', 'loss_logits', 'loss_other']
    records = [(torch.rand(4, 5, 8), torch.rand(6, 5, 8)), *[(torch.rand(10), torch.rand(12))] * 2]
    meetings = [Meeting(name, *pair) for name, pair in zip(names, records, strict=True)]
    heights = []
    for count in (1, 3):
        draw_grid(image, meetings[:count], (20, 32), tmp_path / f'{count}.png')
        heights.append(cv2.imread(str(tmp_path / f'{count}.png')).shape[0])
        assert [axes.get_ylabel() for axes in figures[-1].axes[: 4 * count : 4]] == names[:count]
    assert heights[1] > 2 * heights[0]
