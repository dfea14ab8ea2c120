"""Bad files are told from bugs, named, counted and replaced."""

import json
import pickle
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from image_folders import damage, write_images
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import pseudo_collate
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.transforms import PackInputs
from PIL import Image
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader

from kd_plugins.datasets import CRDDataset, Digits, ReplayedViews, SeededSamples, SoundSamples
from kd_plugins.datasets.bad_files import BadFileError, BadFiles
from kd_plugins.datasets.image_files import problem_at_end, problem_of_file
from kd_plugins.errors import UserError

DAMAGES = ['missing', 'empty', 'random', 'half', 'no end', 'zeros']


class Noise(BaseTransform):
    def transform(self, results):
        results['img'] = results['img'] + np.uint8(np.random.randint(100))
        return results


class Faulty(BaseTransform):
    def transform(self, results):
        raise self.error

    def __init__(self, error):
        self.error = error


def folder(root, *steps, loading=None, **kwargs):
    pipeline = [loading or LoadImageFromFile(), *steps, PackInputs()]
    return CustomDataset(data_root=str(root), pipeline=pipeline, **kwargs)


@pytest.fixture
def root(tmp_path):
    return write_images(tmp_path / 'images')


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('how', DAMAGES)
def test_bad_files_are_fatal_and_named(root, suffix, how):
    write_images(root, suffix=suffix)
    samples = SoundSamples(folder(root, extensions=(suffix,)))
    file = damage(root / 'dog' / f'2{suffix}', how)
    assert samples[0]['data_samples'].gt_label.item() == 0
    with pytest.raises(BadFileError) as caught:
        samples[8]
    assert caught.value.file == str(file)
    problems = {
        'missing': 'does not exist',
        'empty': 'is empty',
        'random': 'cannot be decoded',
        'half': 'is cut off',
        'no end': 'is cut off',
        'zeros': 'is cut off',
    }
    assert problems[how] in caught.value.problem


@pytest.mark.parametrize('how', DAMAGES)
def test_a_bad_file_is_replaced_and_counts_once(root, how):
    samples = SoundSamples(folder(root), replace=1)
    file = damage(root / 'cat' / '1.jpg', how)
    np.random.seed(3)
    expected = np.random.randint(12)
    np.random.seed(3)
    assert samples[1]['data_samples'].img_path == samples.dataset.get_data_info(expected)['img_path'] != str(file)
    for _ in range(20):
        assert samples[1]['data_samples'].img_path != str(file)
    assert list(samples.bad_files.read()) == [str(file)]

    other = damage(root / 'dog' / '0.jpg', how)
    with pytest.raises(BadFileError) as caught:
        samples[6]
    assert (caught.value.file, caught.value.found, caught.value.replace) == (str(other), 2, 1)


@pytest.mark.parametrize('content', [b'', b'\xff', b'\xff\xd8', b'\xff\xd8\xff', b'\xff\xd8\xff\xe1\x00\x00\xff'])
def test_the_smallest_jpegs(tmp_path, content):
    path = tmp_path / 'image.jpg'
    path.write_bytes(content)
    assert problem_of_file(str(path))


def test_what_follows_the_end_is_nobodys_business(root):
    samples = SoundSamples(folder(root, extensions=('.jpg', '.png')))
    write_images(root, suffix='.png')
    for path in root.rglob('*.*'):
        # a film may follow a photo
        path.write_bytes(path.read_bytes() + b'x' * 200_000)
    assert len({samples[index]['data_samples'].img_path for index in range(12)}) == 12
    # nor that a PNG is called JPEG, as one of ImageNet is
    source = root / 'cat' / '0.png'
    assert problem_at_end(str(source.rename(root / 'cat' / '0.jpeg'))) == ''


def test_the_end_of_a_thumbnail_is_not_that_of_the_image(root):
    path = root / 'cat' / '0.jpg'
    content, thumbnail = path.read_bytes(), cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    header = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    path.write_bytes(content[:2] + header + content[2:])
    assert problem_of_file(str(path)) == problem_at_end(str(path)) == ''
    path.write_bytes(path.read_bytes()[:-1500])
    assert 'is cut off' in problem_at_end(str(path))


def test_other_formats_pass(tmp_path):
    path = tmp_path / 'array.npy'
    path.write_bytes(b'anything')
    assert problem_of_file(str(path)) == problem_at_end(str(path)) == ''
    assert problem_at_end('s3://bucket/image.jpg') == ''


@pytest.mark.parametrize(
    'error', [ValueError('mine'), OSError('mine'), AttributeError("'NoneType'"), cv2.error('mine')]
)
def test_a_bug_of_a_transform_passes(root, error):
    samples = SoundSamples(folder(root, Faulty(error)), replace=5)
    with pytest.raises(type(error), match=str(error)):
        samples[0]
    assert samples.bad_files.read() == {}


def test_a_bug_of_a_loading_transform_passes(root):
    class Loading(LoadImageFromFile):
        def transform(self, results):
            return super().transform(results)['no such key']

    with pytest.raises(KeyError, match='no such key'):
        SoundSamples(folder(root, loading=Loading()), replace=5)[0]


def test_a_transform_that_stumbles_over_what_was_not_loaded(root):
    class Reading(BaseTransform):
        def transform(self, results):
            results['img_shape'] = cv2.imread(results['img_path']).shape
            return results

    samples = SoundSamples(folder(root, loading=Reading()))
    file = damage(root / 'cat' / '0.jpg', 'missing')
    with pytest.raises(BadFileError, match='does not exist'):
        samples[0]
    damage(root / 'cat' / '1.jpg', 'random')
    with pytest.raises(BadFileError, match=r'1\.jpg.*cannot be decoded'):
        samples[1]
    assert list(samples.bad_files.read()) == [str(file), str(root / 'cat' / '1.jpg')]


def test_files_that_only_a_loading_transform_can_read(root):
    class FromArchive(LoadImageFromFile):
        def transform(self, results):
            if results['img_path'].endswith('1.jpg'):
                raise OSError('broken record')
            results['img'] = np.zeros((4, 4, 3), np.uint8)
            return results

    samples = SoundSamples(folder(root, loading=FromArchive()))
    for path in root.rglob('*.jpg'):
        path.unlink()
    assert samples[0]['inputs'].shape == (3, 4, 4)
    with pytest.raises(BadFileError, match=r'1\.jpg'):
        samples[1]
    bug = SoundSamples(folder(root.parent / 'other', Faulty(ValueError('mine')), loading=FromArchive(), lazy_init=True))
    write_images(root.parent / 'other')
    bug.full_init()
    for path in (root.parent / 'other').rglob('*.jpg'):
        path.unlink()
    with pytest.raises(ValueError, match='mine'):
        bug[0]


class Plain:
    """A data set of somebody's own, which tells no paths."""

    def __init__(self, root):
        self.paths = sorted(root.rglob('*.jpg'))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return np.asarray(Image.open(self.paths[index]))


@pytest.mark.parametrize('how', ['missing', 'empty', 'random', 'half'])
def test_a_data_set_of_ones_own(root, how):
    samples = SoundSamples(Plain(root), replace=1)
    file = damage(root / 'cat' / '3.jpg', how)
    assert samples[3].shape == (40, 48, 3)
    (found,) = samples.bad_files.read()
    assert found == (str(file) if how == 'missing' else 'sample 3')


def test_without_a_sound_sample_it_ends(root):
    samples = SoundSamples(folder(root), replace=50)
    for path in list(root.rglob('*.jpg')):
        damage(path, 'empty')
    with pytest.raises(BadFileError, match='is empty, and what was drawn in its place'):
        samples[0]


def test_a_replaced_row_is_the_one_that_was_drawn(root):
    views = ReplayedViews(folder(root, Noise()), views=3)
    damage(root / 'cat' / '1.jpg', 'half')
    samples = SoundSamples(views, replace=1)
    assert len(samples) == 12
    for row in range(36):
        item = samples[row]
        drawn = item['data_samples'].teacher_row
        assert drawn == row if row % 12 != 1 else drawn != row
        assert drawn // 12 == row // 12
        assert torch.equal(item['inputs'], views[drawn]['inputs'])


def test_random_numbers_are_drawn_for_a_replacement_alone(root):
    crd = CRDDataset(folder(root, Noise()), neg_num=3, sample_mode='random')
    samples = SoundSamples(crd)
    np.random.seed(0)
    random.seed(0)
    expected = [crd[index]['inputs'] for index in range(4)]
    states = random.getstate(), np.random.get_state()[1].tolist()
    np.random.seed(0)
    assert all(torch.equal(samples[index]['inputs'], inputs) for index, inputs in enumerate(expected))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def test_images_without_files_pass():
    samples = SoundSamples(Digits(split='val', num_images=20, pipeline=[PackInputs()]))
    assert samples[3]['inputs'].shape == (3, 8, 8)
    assert samples.metainfo['classes'][0] == '0'
    assert samples.get_gt_labels().shape == (20,)
    samples.pipeline = len
    assert samples.dataset.pipeline is len


def test_an_empty_data_set_is_refused():
    class Nothing:
        def __len__(self):
            return 0

    with pytest.raises(UserError, match='expected samples, got none'):
        SoundSamples(Nothing()).full_init()


@pytest.mark.parametrize('replace', [-1, 1.0, True, '1', None])
def test_replace_is_a_count(replace):
    with pytest.raises(UserError, match='replace: expected a whole number from 0 on'):
        SoundSamples([1], replace=replace)


@pytest.mark.parametrize('name', ['a.jpg', 'mit "Umlaut" ä\nbad file: {}.jpg', 'not utf-8 \udcff.jpg'])
def test_the_error_comes_whole_out_of_a_worker(name):
    error = BadFileError.about(name, 'is empty', 3, 2)
    try:
        try:
            raise ValueError('cause')
        except ValueError as cause:
            raise error from cause
    except BadFileError:
        wrapped = ExceptionWrapper(where='in DataLoader worker process 0')
    with pytest.raises(BadFileError) as caught:
        wrapped.reraise()
    for got in (caught.value, pickle.loads(pickle.dumps(error))):
        assert vars(got) == dict(file=name, problem='is empty', found=3, replace=2)


def test_workers_share_what_they_find(root, tmp_path):
    journal = tmp_path / 'bad_files.jsonl'
    journal.write_text(json.dumps(dict(file='of an earlier run', problem='is empty')) + '\n')
    since = journal.stat().st_size
    bad = [damage(root / 'cat' / f'{index}.jpg', 'half') for index in range(3)]
    arguments = dict(journal=str(journal), since=since)
    loader = DataLoader(SoundSamples(folder(root), replace=3, **arguments), num_workers=2, collate_fn=pseudo_collate)
    for _ in range(3):
        assert len(list(loader)) == 12
    assert set(loader.dataset.bad_files.read()) == set(map(str, bad))
    loader = DataLoader(SoundSamples(folder(root), replace=2, **arguments), num_workers=2, collate_fn=pseudo_collate)
    with pytest.raises(BadFileError) as caught:
        list(loader)
    assert caught.value.found == 3


def test_lines_of_several_processes_are_read_as_far_as_they_are_whole(tmp_path):
    path = tmp_path / 'bad_files.jsonl'
    first, second = BadFiles(str(path)), BadFiles(str(path))
    assert (first.add('a', 'x'), second.add('b', 'y'), first.add('b', 'y'), first.add('a', 'x')) == (1, 2, 2, 2)
    with path.open('a') as file:
        file.write('{"file": "c", "pro')
    assert second.read() == dict(a='x', b='y')
    assert BadFiles(str(tmp_path / 'missing' / 'bad_files.jsonl')).add('a', 'x') == 1


def test_inside_samples_that_are_seeded(root):
    file = damage(root / 'cat' / '1.jpg', 'half')
    samples = SeededSamples(SoundSamples(folder(root), replace=1))
    assert samples[1]['data_samples'].img_path != str(file)
    assert list(samples.bad_files.read()) == [str(file)]
    assert Path(samples[0]['data_samples'].img_path).name == '0.jpg'
