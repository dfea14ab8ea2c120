"""Data sets that return tuples, as those of torchvision do, and models that take them by their order."""

from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from toy import ToyDataset, runner_config

from kd_plugins.preflight import check_training, inspect_modules


@DATASETS.register_module()
class TupleDataset(ToyDataset):
    """Image and label."""

    def __getitem__(self, index):
        return tuple(super().__getitem__(index).values())


def config_of(tmp_path):
    config = Config(runner_config(tmp_path))
    for loader in ('train_dataloader', 'val_dataloader'):
        config[loader].dataset.type = 'TupleDataset'
    return config


def test_they_are_checked_and_trained(tmp_path):
    config = config_of(tmp_path)
    findings = check_training(config)
    assert [warning.where for warning in findings.warnings] == ['model.teacher']  # its weights are random
    assert findings.batch == (2, 3, 8, 8)
    runner = Runner.from_cfg(config)
    runner.train()
    assert {'accuracy', 'teacher.accuracy'} <= {name.partition('/')[2] for name in runner.message_hub.log_scalars}


def test_their_modules_are_listed(tmp_path):
    rows = {row.name: row.outputs for row in inspect_modules(config_of(tmp_path), 'student')}
    assert rows['fc'] == ((2, 3),)
