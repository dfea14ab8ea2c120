"""The algorithm's own preprocessor: mmengine's, or a user's, over a student whose library adds arguments to it."""

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import _load_checkpoint
from mmpretrain import get_model

from kd_plugins.engine.config import load_config
from kd_plugins.engine.export import export_student
from kd_plugins.engine.launch import train
from kd_plugins.errors import UserError
from kd_plugins.preflight import inspect_training
from kd_plugins.preflight.check import build_from_config
from kd_plugins.sweep.baseline import student_alone

IMAGES = dict(mean=[80.0, 78.0, 76.0], std=[82.0, 81.0, 80.0])
MIXUP = dict(augments=[dict(type='Mixup', alpha=0.8)])


@MODELS.register_module()
class Halve(BaseDataPreprocessor):
    """A user's own, which knows nothing of mmpretrain's arguments."""

    def __init__(self, factor: float = 0.5):
        super().__init__()
        self.factor = factor

    def forward(self, data, training=False):
        data = self.cast_data(data)
        return {**data, 'inputs': data['inputs'].float() * self.factor}


def classifier(channels):
    return dict(
        _scope_='mmpretrain',
        type='ImageClassifier',
        backbone=dict(type='kd_plugins.PlainCNN', stages=((channels,),)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=channels, topk=(1,)),
    )


def whole_config(scope, preprocessor, collate='default_collate', **model):
    """Two iterations of logit KD on the digits, evaluated, under the names of a scope."""
    recorder = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
    mapping = dict(preds_S=dict(recorder='fc', from_student=True), preds_T=dict(recorder='fc', from_student=False))
    loader = dict(
        batch_size=8,
        num_workers=0,
        dataset=dict(type='kd_plugins.Digits', split='train', num_images=16, pipeline=[dict(type='PackInputs')]),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type=collate),
    )
    return dict(
        default_scope='mmpretrain',
        model=dict(
            type=f'{scope}.SingleTeacherDistill',
            data_preprocessor=preprocessor,
            architecture=classifier(4),
            teacher=classifier(8),
            distiller=dict(
                type=f'{scope}.ConfigurableDistiller',
                student_recorders=recorder,
                teacher_recorders=recorder,
                distill_losses=dict(loss_kl=dict(type=f'{scope}.KLDivergence', tau=4)),
                loss_forward_mappings=dict(loss_kl=mapping),
            ),
            **model,
        ),
        train_dataloader=loader,
        val_dataloader={**loader, 'dataset': {**loader['dataset'], 'split': 'test'}},
        train_cfg=dict(by_epoch=True, max_epochs=1),
        val_cfg=dict(type=f'{scope}.SingleTeacherDistillValLoop'),
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=0),
        log_level='ERROR',
    )


def load(config, folder):
    Config(config).dump(folder / 'config.py')
    return load_config(folder / 'config.py')


def trained(config, folder):
    loaded = load(config, folder)
    loaded.work_dir, loaded.launcher = str(folder / 'run'), 'none'
    runner = train(loaded)
    metrics = {name: value for name, value in runner.message_hub.log_scalars.items() if 'accuracy' in name}
    return runner, {name: history.current() for name, history in metrics.items()}


@pytest.mark.parametrize('collate', ['default_collate', 'pseudo_collate'])
def test_trains_as_the_config_of_mmrazor_does(collate, tmp_path):
    preprocessor = dict(type='ImgDataPreprocessor', **IMAGES, bgr_to_rgb=True)
    results = []
    for scope in ('kd_plugins', 'mmrazor'):
        (tmp_path / scope).mkdir()
        runner, metrics = trained(whole_config(scope, preprocessor, collate), tmp_path / scope)
        kinds = [type(model.data_preprocessor).__name__ for model in (runner.model, runner.model.student)]
        assert kinds == [{'kd_plugins': 'ImgDataPreprocessor', 'mmrazor': 'ClsDataPreprocessor'}[scope]] * 2
        results.append((runner.model.state_dict(), metrics))
    (native, native_metrics), (translated, translated_metrics) = results
    assert native_metrics == translated_metrics
    assert {'val/accuracy/top1', 'val/teacher.accuracy/top1'} <= native_metrics.keys()
    assert native.keys() == translated.keys()
    for name, weight in native.items():
        assert torch.equal(weight, translated[name]), name


@pytest.mark.parametrize('kind', ['ImgDataPreprocessor', 'mmengine.ImgDataPreprocessor', ImgDataPreprocessor])
def test_however_it_is_named(kind):
    config = whole_config('kd_plugins', dict(type=kind, **IMAGES))
    algorithm = MODELS.build(config['model'])
    assert type(algorithm.data_preprocessor) is ImgDataPreprocessor
    assert algorithm.data_preprocessor.mean.flatten().tolist() == IMAGES['mean']


def test_a_users_own(tmp_path):
    runner, _ = trained(whole_config('kd_plugins', dict(type='Halve', factor=0.25)), tmp_path)
    assert runner.model.data_preprocessor.factor == 0.25


def test_mmpretrains_own_is_still_completed():
    architecture = {**classifier(4), 'train_cfg': MIXUP}
    config = whole_config('kd_plugins', dict(type='ClsDataPreprocessor', num_classes=10, **IMAGES))
    config['model']['architecture'] = architecture
    algorithm = MODELS.build(config['model'])
    assert type(algorithm.data_preprocessor.batch_augments.augments[0]).__name__ == 'Mixup'


@pytest.mark.parametrize(
    ('preprocessor', 'where', 'said'),
    [
        (dict(type='ImgDataPreprocessor', bgr2rgb=True), 'model.data_preprocessor.bgr2rgb', 'bgr_to_rgb'),
        (dict(type='ImgDataPreprocesor'), 'model.data_preprocessor.type', 'ImgDataPreprocessor'),
        (dict(type='ImgDataPreprocessor', mean=[1, 2, 3]), 'model.data_preprocessor', 'mean and std should be both'),
    ],
)
def test_what_is_wrong_is_reported_where_it_was_written(preprocessor, where, said, tmp_path):
    loaded = load(whole_config('kd_plugins', preprocessor), tmp_path)
    with pytest.raises(UserError) as caught:
        build_from_config(loaded)
    (fault,) = caught.value.faults
    assert fault.where == where
    assert said in str(fault)


@pytest.mark.parametrize('scope', ['kd_plugins', 'mmrazor'])
def test_mixing_that_it_cannot_do_is_a_warning(scope, tmp_path):
    config = whole_config(scope, dict(type='ImgDataPreprocessor', **IMAGES))
    config['model']['architecture'] = {**classifier(4), 'train_cfg': MIXUP}
    loaded = load(config, tmp_path)
    loaded.work_dir = str(tmp_path / 'run')
    findings = inspect_training(loaded)
    assert findings.faults == []
    (warning,) = [fault for fault in findings.warnings if fault.where == 'model.data_preprocessor']
    assert 'Mixup' in warning.expected


def test_the_student_leaves_with_one_that_mmpretrain_takes(tmp_path):
    config = whole_config('kd_plugins', dict(type='ImgDataPreprocessor', **IMAGES, rgb_to_bgr=True))
    runner, _ = trained(config, tmp_path)
    exported = export_student(runner.cfg, tmp_path / 'run' / 'epoch_1.pth', tmp_path / 'student.pth')
    model = get_model(str(exported.config), pretrained=str(exported.weights))
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    batches = [part.data_preprocessor(dict(inputs=images), False)['inputs'] for part in (model, runner.model)]
    assert torch.equal(*batches)
    weights = _load_checkpoint(str(exported.weights))['state_dict']
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in weights.items())


def test_the_student_alone_is_built_in_a_sweep(tmp_path):
    config = whole_config('kd_plugins', dict(type='ImgDataPreprocessor', **IMAGES, bgr_to_rgb=True))
    alone = student_alone(load(config, tmp_path))
    preprocessor = build_from_config(alone).data_preprocessor
    assert (type(preprocessor).__name__, preprocessor.to_rgb) == ('ClsDataPreprocessor', True)
