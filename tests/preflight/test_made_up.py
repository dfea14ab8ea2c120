"""Made-up images may be unlike the data: only the data themselves can refuse a model that stumbles over them."""

from pathlib import Path

import numpy as np
from mmengine.dataset import Compose
from mmengine.registry import DATASETS

from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import complete_config
from kd_plugins.preflight import inspect_training

STUDENT = Path(__file__).parents[2] / 'configs/quickstart/student_cnn_digits.py'


@DATASETS.register_module()
class GreyImages:
    """Images of one channel, as MNIST has them; not there if so wished."""

    def __init__(self, pipeline, there=True):
        if not there:
            raise FileNotFoundError('no images')
        self.pipeline = Compose(pipeline)

    def __len__(self):
        return 2

    def __getitem__(self, index):
        grey = np.full((28, 28, 1), index, dtype=np.uint8)
        return self.pipeline(dict(img=grey, img_shape=(28, 28), ori_shape=(28, 28), gt_label=index, sample_idx=index))


def findings_of(tmp_path, there=True, channels=1):
    config = load_config(STUDENT)
    config.model = dict(
        type='ImageClassifier',
        backbone=dict(type='LeNet5', num_classes=10),
        head=dict(type='ClsHead', topk=(1,)),
        data_preprocessor=dict(type='ClsDataPreprocessor', mean=[33.0] * channels, std=[78.0] * channels),
    )
    pipeline = [dict(type='Resize', scale=32), dict(type='PackInputs')]
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        config[loader].dataset = dict(type='GreyImages', pipeline=pipeline, there=there)
    config.pop('data_preprocessor')
    config.work_dir = str(tmp_path)
    complete_config(config)
    return inspect_training(config)


def test_the_data_set_is_asked_where_a_model_stumbles(tmp_path):
    findings = findings_of(tmp_path)
    assert (findings.faults, findings.warnings) == ([], [])
    assert findings.batch == (2, 1, 32, 32)


def test_without_data_a_stumble_is_a_warning(tmp_path):
    findings = findings_of(tmp_path, there=False)
    assert findings.faults == []
    (warning,) = findings.warnings
    assert warning.where == 'train_dataloader.dataset'
    assert 'made-up colour images alone, over which model.backbone stumbled' in warning.got


def test_what_stumbles_over_its_own_data_is_refused(tmp_path):
    (fault,) = findings_of(tmp_path, channels=3).faults
    assert fault.where.startswith('model.')
