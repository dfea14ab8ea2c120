"""Missing data folders are found without reading any data."""

from kd_plugins.preflight import data_faults


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


def test_what_is_downloaded_or_remote_is_left_alone(tmp_path):
    config = dict(
        train_dataloader=loader(data_root=str(tmp_path / 'none'), download=True),
        val_dataloader=loader(data_root='s3://bucket/imagenet'),
        test_dataloader=None,
    )
    assert data_faults(config) == []
