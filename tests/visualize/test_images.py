"""An image as models see it, and as it is shown: red stays red."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.engine.config import load_config
from kd_plugins.errors import UserError
from kd_plugins.visualize import prepare_image
from kd_plugins.visualize.images import as_picture

CONFIGS = Path(__file__).parents[2] / 'configs'
RED = (255, 0, 0)
PACK, LOAD = dict(type='PackInputs'), dict(type='LoadImageFromFile')


class ReturnsNone:
    def __call__(self, sample):
        return None


class PacksViews:
    def __call__(self, sample):
        return dict(inputs=[torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)])


class PacksClip:
    def __call__(self, sample):
        return dict(inputs=torch.zeros(2, 3, 4, 4))


@pytest.fixture(scope='module')
def red(tmp_path_factory):
    path = tmp_path_factory.mktemp('images') / 'red.png'
    # OpenCV writes BGR
    assert cv2.imwrite(str(path), np.full((12, 16, 3), RED[::-1], np.uint8))
    return path


def config_of(*pipeline):
    return Config(dict(default_scope='mmpretrain', test_dataloader=dict(dataset=dict(pipeline=list(pipeline)))))


@pytest.mark.parametrize(('pipeline', 'stored'), [((PACK,), RED), ((LOAD, PACK), RED[::-1])])
def test_the_picture_of_red_is_red(red, pipeline, stored):
    image = prepare_image(config_of(*pipeline), red)
    assert image.name == 'red'
    assert image.pixels.shape == (12, 16, 3)
    assert (image.pixels == RED).all()
    # the batch is in the order of the data set
    assert image.batch['inputs'][0].shape == (3, 12, 16)
    assert image.batch['inputs'][0][:, 0, 0].tolist() == list(stored)


@pytest.mark.parametrize(
    'name',
    [
        'cwd/cwd_backbone_resnet50_resnet18_8xb16_cifar10.py',  # arrays, which are RGB
        'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py',  # files, which are loaded as BGR
    ],
)
def test_red_is_the_first_channel_of_the_models(red, name):
    config = load_config(CONFIGS / name)
    image = prepare_image(config, red)
    assert (image.pixels == RED).all()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        preprocessor = MODELS.build({'type': 'ClsDataPreprocessor', **config.data_preprocessor})
    inputs = preprocessor(image.batch, False)['inputs'][0]
    expected = (torch.tensor(RED)[:, None, None] - preprocessor.mean) / preprocessor.std
    torch.testing.assert_close(inputs, expected.expand_as(inputs))


@pytest.mark.parametrize(
    ('channels', 'bgr', 'shown'), [(RED, False, RED), (RED[::-1], True, RED), ((9,), True, (9,) * 3)]
)
def test_colours_and_grey(channels, bgr, shown):
    inputs = torch.tensor(channels, dtype=torch.uint8)[:, None, None].expand(-1, 2, 3)
    picture = as_picture(inputs, bgr=bgr)
    assert picture.shape == (2, 3, 3)
    assert (picture == shown).all()


def test_other_ranges_are_stretched():
    inputs = torch.tensor([[[-1.0, 1.0]], [[1.0, 0.0]], [[-1.0, -1.0]]])  # (3, 1, 2)
    assert as_picture(inputs, bgr=False).tolist() == [[[0, 255, 0], [255, 127, 0]]]


@pytest.mark.parametrize(
    ('steps', 'got'),
    [
        ((dict(type=ReturnsNone),), 'no inputs for '),
        ((dict(type='PackInputs', input_key='image'),), 'no inputs for '),
        ((dict(type=PacksViews),), 'inputs that are a list for '),
        ((dict(type=PacksClip),), 'inputs (2, 3, 4, 4) for '),
    ],
)
def test_a_pipeline_that_packs_no_image(red, steps, got):
    with pytest.raises(UserError) as caught:
        prepare_image(config_of(LOAD, *steps), red)
    (fault,) = caught.value.faults
    assert fault.where == 'test_dataloader.dataset.pipeline'
    assert fault.got == f'{got}{red}'


def test_the_loader_is_named_that_is_used(red):
    config = Config(dict(val_dataloader=dict(dataset=dict(type='ToyDataset'))))
    with pytest.raises(UserError, match='val_dataloader: expected a data set with a pipeline'):
        prepare_image(config, red)
