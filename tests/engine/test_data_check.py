"""Data that are refused once they are loaded."""

import pytest
import torch
from cached import CONFIGS, digits_config
from image_folders import write_config, write_images
from mmengine.registry import DATASETS

from kd_plugins.datasets import Digits
from kd_plugins.engine.config import load_config
from kd_plugins.engine.data_check import _faults_of_places, _is_of_one_class
from kd_plugins.engine.launch import prepare_training
from kd_plugins.errors import UserError
from kd_plugins.registry import DATASETS as OUR_DATASETS

DIGITS = list('0123456789')


def prepare(folder, more='', **options):
    path = write_config(folder, folder / 'data', more=more)
    defaults = {'work_dir': str(folder / 'run'), 'launcher': 'none', 'log_level': 'WARNING'}
    return prepare_training(load_config(path, {**defaults, **options}))


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / 'data' / 'train')
    write_images(tmp_path / 'data' / 'val')
    return tmp_path


@DATASETS.register_module()
class NoSamples:
    def __len__(self):
        return 0


def test_an_empty_folder_is_named(folder):
    for part in ('train', 'val'):
        (folder / 'data' / f'empty_{part}').mkdir()
        options = {f'{part}_dataloader.dataset.data_prefix': f'empty_{part}'}
        with pytest.raises(UserError) as caught:
            prepare(folder, **options)
        (fault,) = caught.value.faults
        assert fault.where == f'{part}_dataloader.dataset'
        assert fault.got == f'none in {folder / "data" / f"empty_{part}"}'
        assert not (folder / 'run').exists()


def test_an_empty_list_is_named(folder):
    (folder / 'data' / 'train.txt').write_text('')
    with pytest.raises(UserError, match=r'^train_dataloader\.dataset: expected samples, got none in .*/train\.txt'):
        prepare(folder, **{'train_dataloader.dataset.ann_file': 'train.txt'})


def test_a_missing_list_is_no_empty_one(folder):
    with pytest.raises(UserError, match=r'^data: expected files of the data set, got FileNotFoundError.*train\.txt'):
        prepare(folder, **{'train_dataloader.dataset.ann_file': 'train.txt'})


@pytest.mark.parametrize('sampler', ['DefaultSampler', 'InfiniteSampler'])
@pytest.mark.parametrize('workers', [0, 2])
def test_a_data_set_of_ones_own_without_samples(folder, sampler, workers):
    # a sampler that never ends would look for the first sample for ever
    more = (
        "train_dataloader = dict(dataset=dict(_delete_=True, type='NoSamples'), num_workers={}, "
        "sampler=dict(_delete_=True, type='{}'))\ntrain_cfg = dict(by_epoch=False, max_iters=2)\n"
    )
    with pytest.raises(UserError, match=r'^train_dataloader\.dataset: expected samples, got none in NoSamples'):
        prepare(folder, more.format(workers, sampler))


def test_a_folder_of_one_class_is_refused(folder):
    write_images(folder / 'data' / 'one', classes=('cat',))
    options = {'train_dataloader.dataset.data_prefix': 'one'}
    with pytest.raises(UserError, match=r'^train_dataloader\.dataset: expected images of two .* got 6 images of cat'):
        prepare(folder, **options)
    # two folders, but one is empty
    (folder / 'data' / 'one' / 'dog').mkdir()
    with pytest.raises(UserError, match=r'^train_dataloader\.dataset: expected images of two .* of one class'):
        prepare(folder, **options)


class Labelled:
    def __init__(self, *labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return {'gt_label': self.labels[index]}


@pytest.mark.parametrize(
    ('labels', 'one'),
    [((1, 1, 1), True), ((1, 1, 2), False), ((1, 2, 1), False), ((0,), True), (([1], [1]), False), ((None, 0), False)],
)
def test_labels_of_one_class(labels, one):
    assert _is_of_one_class(Labelled(*labels)) == one


def test_data_without_labels_pass():
    assert not _is_of_one_class([1, 2])


@pytest.fixture
def taught(tmp_path):
    """A config of the digits whose teacher says which classes it knows."""

    def config(classes, path=CONFIGS / 'kd_vgg_cnn_digits.py', suffix='.pth'):
        config = digits_config(tmp_path, path)
        owner, key = config.model, 'teacher_ckpt'
        if 'teachers' in config.model:
            owner, key = config.model.teachers.seed1, 'ckpt_path'
        content = {'state_dict': torch.load(owner[key]), 'meta': {'dataset_meta': {'classes': classes}}}
        owner[key] = str(tmp_path / f'taught{suffix}')
        torch.save(content, owner[key])
        return config

    return config


@pytest.mark.parametrize('several', [False, True])
def test_the_classes_of_the_teacher_in_another_order_are_refused(taught, several):
    config = taught(DIGITS[:3] + ['9', '4', '5', '6', '7', '8', '3'])
    if several:
        config = taught(
            DIGITS[:3] + ['9', '4', '5', '6', '7', '8', '3'], CONFIGS / 'methods/multi_teacher_vgg_cnn_digits.py'
        )
    with pytest.raises(UserError) as caught:
        prepare_training(config)
    (fault,) = caught.value.faults
    assert fault.where == 'train_dataloader.dataset'
    assert fault.got.startswith("'3' as class 3, where ")
    assert fault.got.endswith("taught.pth has '9'")


def test_other_names_are_a_warning(taught, tmp_path):
    config = taught([*DIGITS[:9], 'nine'])
    prepare_training(config)
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert "model.teacher_ckpt: the teacher calls class 9 'nine', and the training data '9'" in log.read_text()


@pytest.mark.parametrize('classes', [DIGITS, tuple(DIGITS), None, DIGITS[:5], 'digits'])
def test_the_same_classes_and_none_pass(taught, classes, tmp_path):
    prepare_training(taught(classes))
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert 'class' not in log.read_text()


def test_the_digits_are_of_ten_classes():
    assert not _is_of_one_class(Digits(pipeline=[]))


def by_place(**changes):
    return dict(type='kd_plugins.Digits', pipeline=[dict(type='kd_plugins.PackCRDClsInputs')], **changes)


@pytest.mark.parametrize('contrasted', [False, True])
def test_images_that_share_places_are_refused(tmp_path, contrasted):
    config = digits_config(tmp_path, CONFIGS / 'methods/crd_vgg_cnn_digits.py')
    config.model.distiller.distill_losses.loss_crd.sample_n = 1797
    pipeline = config.train_dataloader.dataset.pipeline
    parts = [dict(type='kd_plugins.Digits', split=split, pipeline=pipeline) for split in ('train', 'val')]
    if contrasted:
        parts = [dict(type='kd_plugins.CRDDataset', dataset=part, neg_num=4) for part in parts]
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=parts)
    with pytest.raises(UserError) as caught:
        prepare_training(config)
    (fault,) = caught.value.faults
    assert fault.where == 'train_dataloader.dataset'
    assert fault.got == '2 data sets in a ConcatDataset, each of which counts from 0'


@pytest.mark.parametrize(
    ('dataset', 'shares'),
    [
        (dict(type='ConcatDataset', datasets=[by_place(), by_place(split='val')]), True),
        (dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[by_place()] * 2)), True),
        (dict(type='ConcatDataset', datasets=[by_place()]), False),
        (dict(type='ConcatDataset', datasets=[dict(type='kd_plugins.Digits', pipeline=[])] * 2), False),
        (dict(type='RepeatDataset', times=2, dataset=by_place()), False),
        (by_place(), False),
    ],
)
@pytest.mark.parametrize('wrapped', [False, True])
def test_which_data_sets_share_places(dataset, shares, wrapped):
    built = OUR_DATASETS.build(dict(type='SeededSamples', dataset=dataset) if wrapped else dataset)
    assert bool(_faults_of_places(built)) == shares


@pytest.mark.parametrize('dataset', [None, [1, 2], torch.utils.data.ConcatDataset([[1], [2]])])
def test_data_sets_without_places_pass(dataset):
    assert not _faults_of_places(dataset)
