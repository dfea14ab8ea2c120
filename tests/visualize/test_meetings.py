"""What meets in the losses for one image, and why some of it is not there."""

import numpy as np
import pytest
import torch
from torch import nn
from toy import ToyClassifier, algorithm_config

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.errors import UserError
from kd_plugins.visualize import Prepared, meetings_on

PIXELS = 8


class ViewingClassifier(ToyClassifier):
    """Flattens its maps by ``view``, as mmpretrain's VGG does: for images of one size, contiguous in memory."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flat = nn.Linear(self.conv1.out_channels * PIXELS**2, 3)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        feature = self.conv1(inputs)
        return self.flat(feature.view(feature.size(0), -1))


class Regions(nn.Module):
    """A map and seven regions of it."""

    def forward(self, feature):
        return feature, feature[:, :, :3, :3].repeat(7, 1, 1, 1)


class RegionClassifier(ToyClassifier):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.regions = Regions()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.regions(self.conv1(inputs))[1]


def image_of(pixels=PIXELS, channels=3):
    inputs = torch.rand(channels, pixels, pixels, generator=torch.Generator().manual_seed(0))
    return Prepared('cat', np.zeros((pixels, pixels, 3), np.uint8), dict(inputs=[inputs], data_samples=[None]))


def algorithm_of(teacher, student=None, **losses):
    distiller = dict(type='ConfigurableDistiller', distill_losses=losses)
    torch.manual_seed(0)
    algorithm = SingleTeacherDistill(
        **algorithm_config(
            teacher=teacher,
            architecture=student or ToyClassifier(),
            distiller=distiller,
            data_preprocessor=dict(type='ImgDataPreprocessor', mean=[0.5] * 3, std=[0.5] * 3),
        )
    )
    return algorithm.eval()


def conv1(**more):
    return dict(type='L2Loss', student='conv1', teacher='conv1', **more)


def test_a_teacher_that_views_its_maps():
    teacher = ViewingClassifier()
    algorithm = algorithm_of(teacher, loss_map=conv1(), loss_logits=dict(type='L2Loss', student='fc', teacher='flat'))
    image = image_of()

    meetings, unseen, size = meetings_on(algorithm, image)

    assert not unseen
    assert size == (PIXELS, PIXELS)
    inputs = (image.batch['inputs'][0][None] - 0.5) / 0.5
    with torch.no_grad():
        own, theirs = algorithm.student(inputs), teacher(inputs)
    by_name = {meeting.name: meeting for meeting in meetings}
    assert set(by_name) == {'loss_map', 'loss_logits'}
    torch.testing.assert_close(by_name['loss_logits'].student, own[0])
    torch.testing.assert_close(by_name['loss_logits'].teacher, theirs[0])


@pytest.mark.parametrize(
    ('models', 'image', 'taker'),
    [
        ((ViewingClassifier, ToyClassifier), image_of(pixels=2 * PIXELS), 'the teacher raises RuntimeError'),
        ((ToyClassifier, ViewingClassifier), image_of(pixels=2 * PIXELS), 'the student raises RuntimeError'),
        ((ToyClassifier, ToyClassifier), image_of(channels=1), 'the data_preprocessor raises AssertionError'),
    ],
)
def test_an_image_that_does_not_fit(models, image, taker):
    teacher, student = models
    algorithm = algorithm_of(teacher(), student(), loss_map=conv1())
    with pytest.raises(UserError) as caught:
        meetings_on(algorithm, image)
    (fault,) = caught.value.faults
    assert fault.where == 'IMAGE'
    assert fault.got.startswith(f'cat, at which {taker}: ')


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_gradients_are_named_and_the_rest_is_there(side):
    gradients = {side: dict(source='conv1', type='ModuleOutputGrads')}
    algorithm = algorithm_of(ToyClassifier(), loss_gradients=conv1() | gradients, loss_map=conv1())

    for _ in range(2):
        meetings, unseen, _ = meetings_on(algorithm, image_of())

        assert [meeting.name for meeting in meetings] == ['loss_map']
        assert list(unseen) == ['loss_gradients']
        assert 'gradients are those of a loss' in unseen['loss_gradients']


def test_regions_are_not_the_image():
    algorithm = algorithm_of(
        RegionClassifier(),
        RegionClassifier(),
        loss_regions=dict(
            type='L2Loss',
            student=dict(source='regions', data_idx=1),
            teacher=dict(source='regions', data_idx=1),
        ),
        loss_both=dict(type='PKDLoss', student='regions', teacher='regions'),
    )

    meetings, unseen, _ = meetings_on(algorithm, image_of())

    assert [meeting.name for meeting in meetings] == ['loss_both[0]']
    assert meetings[0].student.shape == (4, PIXELS, PIXELS)
    reason = 'its records, (7, 4, 3, 3) and (7, 4, 3, 3), are not one for the image'
    assert unseen == {'loss_regions': reason, 'loss_both[1]': reason}


def test_regions_of_one_model_do_not_meet_the_map_of_the_other():
    theirs = dict(source='regions', data_idx=1)
    algorithm = algorithm_of(RegionClassifier(), loss_map=dict(type='L2Loss', student='conv1', teacher=theirs))

    meetings, unseen, _ = meetings_on(algorithm, image_of())

    assert not meetings
    assert '(1, 4, 8, 8) and (7, 4, 3, 3)' in unseen['loss_map']
