"""What does not fit of a detector or a segmentor is refused before the training, in one message."""

import pytest
from cityscapes_tree import write_cityscapes
from coco_tree import write_coco
from small_configs import CLASSES, DETECTOR, SEGMENTOR, write_config

from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import prepare_training
from kd_plugins.errors import UserError
from kd_plugins.preflight import inspect_training


@pytest.fixture(scope='module')
def boxes(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp('boxes') / 'coco', CLASSES, images=2, size=(96, 72))


@pytest.fixture(scope='module')
def labels(tmp_path_factory):
    return write_cityscapes(tmp_path_factory.mktemp('labels') / 'cityscapes', images=2)


def faults_of(tmp_path, text, root, more=''):
    config = load_config(write_config(tmp_path / 'config.py', text, root, more))
    config.work_dir = str(tmp_path / 'run')
    return [str(fault) for fault in inspect_training(config).faults]


def refusal(tmp_path, text, root, more=''):
    config = load_config(write_config(tmp_path / 'config.py', text, root, more))
    config.work_dir, config.launcher = str(tmp_path / 'run'), 'none'
    with pytest.raises(UserError) as error:
        prepare_training(config)
    assert not (tmp_path / 'run').exists()
    return str(error.value)


def test_the_configs_are_good(tmp_path, boxes, labels):
    assert faults_of(tmp_path, DETECTOR, boxes) == []
    assert faults_of(tmp_path, SEGMENTOR, labels) == []


def test_levels_that_do_not_pair_are_named(tmp_path, boxes):
    more = """
model['architecture']['neck']['num_outs'] = 4
model['architecture']['bbox_head']['anchor_generator'] = dict(strides=[8, 16, 32, 64])
"""
    faults = faults_of(tmp_path, DETECTOR, boxes, more)
    assert len(faults) == 1, faults
    (fault,) = faults
    assert 'distill_losses.loss_pkd_p7.student' in fault
    assert 'data_idx=4 of a tuple with 4 elements' in fault


def test_pyramids_of_other_widths_are_named_by_level(tmp_path, boxes):
    more = ''.join(f'model["distiller"]["distill_losses"]["loss_pkd_p{level}"] = dict()\n' for level in (4, 5))
    faults = faults_of(tmp_path, DETECTOR, boxes, more)
    assert len(faults) == 2
    for level, fault in zip((4, 5), faults, strict=True):
        assert f'distill_losses.loss_pkd_p{level}: ' in fault
        assert '32' in fault
        assert '64' in fault


def test_heads_of_other_classes_are_named(tmp_path, labels):
    more = "model['teacher'] = dict(model['teacher'], decode_head=dict(half['decode_head'], num_classes=21))\n"
    faults = faults_of(tmp_path, SEGMENTOR, labels, more)
    assert len(faults) == 1, faults
    (fault,) = faults
    assert 'distill_losses.loss_cwd' in fault
    assert '19' in fault
    assert '21' in fault


def test_annotations_that_are_not_there(tmp_path, boxes):
    more = "train_dataloader['dataset']['ann_file'] = 'annotations/instances_train2018.json'\n"
    said = refusal(tmp_path, DETECTOR, boxes, more)
    assert 'train_dataloader.dataset' in said
    assert 'instances_train2018.json' in said


@pytest.mark.parametrize('text', ['{"images": []}', 'no JSON', '[]'])
def test_annotations_of_another_format(tmp_path, boxes, text):
    (boxes / 'annotations' / 'other.json').write_text(text)
    said = refusal(tmp_path, DETECTOR, boxes, "train_dataloader['dataset']['ann_file'] = 'annotations/other.json'\n")
    assert 'train_dataloader.dataset' in said


def test_a_folder_without_images(tmp_path, labels):
    more = "train_dataloader['dataset']['data_prefix'] = dict(img_path='leftImg', seg_map_path='gtFine')\n"
    said = refusal(tmp_path, SEGMENTOR, labels, more)
    assert 'leftImg' in said
    assert 'data_root' in said
