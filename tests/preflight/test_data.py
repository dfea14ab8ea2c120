"""Missing data folders are found without reading any data, and the missing files of CIFAR and ImageNet."""

import hashlib

import pytest
from mmpretrain.datasets import CIFAR10, CIFAR100

from kd_plugins.preflight import data_faults, forbid_downloads


def loader(**dataset):
    return dict(dataset=dict(type='CustomDataset', **dataset))


def test_nothing_to_say_of_what_is_there(tmp_path):
    assert data_faults(dict(train_dataloader=loader(data_root=str(tmp_path)))) == []


def test_missing_root_names_the_key_and_the_folder(tmp_path):
    missing = tmp_path / 'none'
    (fault,) = data_faults(dict(val_dataloader=loader(data_root=str(missing))))
    assert fault.where == 'val_dataloader.dataset.data_root'
    assert str(missing) in fault.got


def test_one_fault_for_a_folder_that_several_loaders_miss(tmp_path):
    missing = loader(data_root=str(tmp_path / 'none'))
    (fault,) = data_faults(dict(train_dataloader=missing, val_dataloader=missing, test_dataloader=missing))
    for name in ('train', 'val', 'test'):
        assert f'{name}_dataloader.dataset.data_root=' in fault.advice


def test_missing_prefix_without_a_root(tmp_path):
    (fault,) = data_faults(dict(train_dataloader=loader(data_prefix=dict(img_path=str(tmp_path / 'none')))))
    assert 'none' in fault.got


def test_wrapped_data_sets(tmp_path):
    inner = dict(type='CustomDataset', data_root=str(tmp_path / 'none'))
    wrapped = dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[inner]))
    (fault,) = data_faults(dict(train_dataloader=dict(dataset=wrapped)))
    assert fault.where == 'train_dataloader.dataset.dataset.datasets.0.data_root'


def test_a_scope_is_that_of_what_is_in_it(tmp_path):
    inner = dict(type='CIFAR10', data_root=str(tmp_path))
    config = dict(default_scope='mmengine', train_dataloader=dict(dataset=dict(_scope_='mmpretrain', dataset=inner)))
    forbid_downloads(config)
    assert inner['download'] is False
    (fault,) = data_faults(config)
    assert fault.expected.startswith('the files of CIFAR10, ')


def test_a_class_that_has_the_name_alone(tmp_path):
    kind = type('CIFAR10', (), {})
    (fault,) = data_faults(dict(train_dataloader=dict(dataset=dict(type=kind, data_root=str(tmp_path / 'none')))))
    assert fault.got.endswith('none, which does not exist')


def test_what_is_downloaded_or_remote_is_left_alone(tmp_path):
    config = dict(
        train_dataloader=loader(data_root=str(tmp_path / 'none'), download=True),
        val_dataloader=loader(data_root='s3://bucket/imagenet'),
        test_dataloader=None,
    )
    assert data_faults(config) == []


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=lambda kind: kind.__name__)
def cifar(request, tmp_path, monkeypatch):
    """Class and root of a CIFAR whose files are there, small, with the checksums that they have."""
    kind, lists = request.param, ('train_list', 'test_list')
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    for attribute in lists:
        entries = [name for name, _ in getattr(kind, attribute)]
        for name in entries:
            (folder / name).write_bytes(name.encode())
        digests = [[name, hashlib.md5(name.encode()).hexdigest()] for name in entries]
        monkeypatch.setattr(kind, attribute, digests)
    return kind, tmp_path


def of_cifar(kind, root, **more):
    return dict(train_dataloader=dict(dataset=dict(type=kind.__name__, data_root=str(root), **more)))


def test_files_of_cifar_that_are_there(cifar):
    kind, root = cifar
    assert data_faults(of_cifar(kind, root)) == []
    assert data_faults(of_cifar(kind, root.parent, data_prefix=root.name)) == []
    assert data_faults(dict(val_dataloader=dict(dataset=dict(type=kind, data_prefix=str(root))))) == []


def test_a_missing_file_of_cifar_is_named_with_its_place_and_its_source(cifar):
    kind, root = cifar
    file = root / kind.base_folder / kind.test_list[0][0]
    file.unlink()
    (fault,) = data_faults(of_cifar(kind, root))
    assert fault.where == 'train_dataloader.dataset.data_root'
    assert fault.got == f'{file}, which does not exist'
    assert f'download {kind.filename} from https://www.cs.toronto.edu/~kriz/cifar.html' in fault.advice
    assert f'unpack it in {root}' in fault.advice


def test_all_missing_files_of_cifar_are_named(cifar):
    kind, root = cifar
    for path in (root / kind.base_folder).iterdir():
        path.unlink()
    (fault,) = data_faults(of_cifar(kind, root))
    assert all(name in fault.got for name, _ in kind.train_list + kind.test_list)


def test_a_damaged_file_of_cifar_is_named(cifar):
    kind, root = cifar
    file = root / kind.base_folder / kind.train_list[-1][0]
    file.write_bytes(b'half of it')
    (fault,) = data_faults(of_cifar(kind, root))
    assert fault.got.startswith(f'{file}, which is damaged')


def of_imagenet(root, **more):
    return dict(train_dataloader=dict(dataset=dict(type='ImageNet', data_root=str(root), **more)))


@pytest.mark.parametrize(
    ('more', 'missing'),
    [
        (dict(split='train'), 'train'),
        (dict(data_prefix='images'), 'images'),
        (dict(data_prefix=dict(img_path='images')), 'images'),
        (dict(ann_file='meta/train.txt'), 'meta/train.txt'),
    ],
)
def test_missing_parts_of_imagenet_are_named_with_their_source(more, missing, tmp_path):
    (fault,) = data_faults(of_imagenet(tmp_path, **more))
    assert fault.got == f'{tmp_path / missing}, which does not exist'
    assert 'https://image-net.org/challenges/LSVRC/2012/' in fault.advice
    (tmp_path / missing).mkdir(parents=True)
    assert data_faults(of_imagenet(tmp_path, **more)) == []


def test_a_missing_root_of_imagenet_names_the_source(tmp_path):
    (fault,) = data_faults(of_imagenet(tmp_path / 'none', split='train'))
    assert fault.got == f'{tmp_path / "none"}, which does not exist'
    assert 'https://image-net.org/challenges/LSVRC/2012/' in fault.advice


def test_downloads_are_forbidden_where_they_are_not_asked_for(tmp_path):
    inner = dict(type='MNIST', data_root=str(tmp_path))
    config = dict(
        train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=inner)),
        val_dataloader=dict(dataset=dict(type='CIFAR10', data_root=str(tmp_path), download=True)),
        test_dataloader=loader(data_root=str(tmp_path)),
    )
    forbid_downloads(config)
    assert config['train_dataloader']['dataset']['dataset']['download'] is False
    assert config['val_dataloader']['dataset']['download'] is True
    assert 'download' not in config['test_dataloader']['dataset']
