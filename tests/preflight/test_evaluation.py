"""What an evaluator makes of the model's predictions is known before the first step, and so is what hooks wait for."""

import pytest
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.optim import ReduceOnPlateauLR
from mmengine.registry import HOOKS, LOOPS, METRICS
from mmengine.runner import ValLoop
from mmpretrain.models import ImageClassifier
from shipped import CONFIGS

from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import complete_config, train
from kd_plugins.errors import UserError
from kd_plugins.preflight import inspect_training

QUICKSTART = CONFIGS / 'quickstart'


@METRICS.register_module()
class OwnMetric(BaseMetric):
    """Counts what it is given; wants some attributes of the predictions, and some number of them."""

    def __init__(self, name='good', needs='pred_label', at_least=1, **kwargs):
        super().__init__(**kwargs)
        self.name, self.needs, self.at_least = name, needs, at_least

    def process(self, data_batch, data_samples):
        self.results.extend(sample[self.needs] for sample in data_samples)

    def compute_metrics(self, results):
        if len(results) < self.at_least:
            raise ValueError(f'{self.at_least} samples are needed')
        return {self.name: len(results)}


@HOOKS.register_module()
class AddingHook(Hook):
    """Adds a metric to those of a validation, before the best checkpoint is chosen by it."""

    def after_val_epoch(self, runner, metrics=None):
        metrics['own'] = 1.0


@LOOPS.register_module()
class OwnValLoop(ValLoop):
    """Whatever it does."""


def inspect(tmp_path, text, base='kd_vgg_cnn_digits.py', ready=True):
    path = tmp_path / 'config.py'
    path.write_text(f'_base_ = [{str(QUICKSTART / base)!r}]\n{text}\n')
    config = load_config(path)
    config.work_dir = str(tmp_path / 'run')
    if 'model' in config and config.model.get('teacher_ckpt'):
        config.model.teacher_ckpt = None
    complete_config(config)
    return inspect_training(config, ready)


def faults(*arguments, **options):
    return {fault.where: (fault.expected, fault.got, fault.advice) for fault in inspect(*arguments, **options).faults}


@pytest.mark.parametrize('ready', [True, False])
@pytest.mark.parametrize('base', ['kd_vgg_cnn_digits.py', 'student_cnn_digits.py'])
def test_a_metric_that_does_not_fit_the_head(base, ready, tmp_path):
    text = "val_evaluator = dict(_delete_=True, type='Accuracy', topk=(1, 20))\ntest_evaluator = val_evaluator"
    found = faults(tmp_path, text, base, ready=ready)
    assert list(found) == ['val_evaluator']
    assert found['val_evaluator'][1].endswith('in Accuracy')


def test_each_metric_of_each_part_has_its_place(tmp_path):
    text = (
        "val_evaluator = [dict(type='Accuracy'), dict(type='OwnMetric', needs='pred_mask')]\n"
        "test_evaluator = dict(_delete_=True, metrics=[dict(type='OwnMetric', needs='pred_box')])"
    )
    found = faults(tmp_path, text)
    assert list(found) == ['val_evaluator.1', 'test_evaluator.metrics.0']
    assert found['val_evaluator.1'][1] == "KeyError: 'pred_mask' in OwnMetric"


def test_arguments_that_a_metric_does_not_have(tmp_path):
    found = faults(tmp_path, 'val_evaluator = dict(top=1)')
    assert 'val_evaluator.top' in found


def test_a_user_s_metric_may_need_more_samples_than_two(tmp_path):
    text = "val_evaluator = dict(_delete_=True, type='OwnMetric', at_least=3)\ntest_evaluator = val_evaluator"
    found = inspect(tmp_path, text)
    assert found.faults == []
    assert [warning.got for warning in found.warnings if warning.where == 'val_evaluator'] == [
        'ValueError: 3 samples are needed in OwnMetric'
    ]


SAVE = 'default_hooks = dict(checkpoint=dict(save_best={!r}))'
BEST = 'default_hooks.checkpoint.save_best'


@pytest.mark.parametrize(
    ('text', 'where'),
    [
        (SAVE.format('accuracy/top_1'), BEST),
        (SAVE.format(['accuracy/top1', 'top1']), f'{BEST}.1'),
        ("custom_hooks = [dict(type='EarlyStoppingHook', monitor='acc', rule='greater')]", 'custom_hooks.0.monitor'),
        ("param_scheduler = [dict(type='ReduceOnPlateauLR', monitor='accuracy')]", 'param_scheduler.0.monitor'),
        ("param_scheduler = dict(_delete_=True, type='ReduceOnPlateauLR')", 'param_scheduler.monitor'),
    ],
)
def test_a_metric_that_will_not_be_there(text, where, tmp_path):
    found = faults(tmp_path, text)
    assert list(found) == [where]
    assert 'accuracy/top1' in found[where][2]


@pytest.mark.parametrize(
    'text',
    [
        "default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))",
        "default_hooks = dict(checkpoint=dict(save_best='teacher.accuracy/top1', rule='greater'))",
        "default_hooks = dict(checkpoint=dict(save_best='auto'))",
        "custom_hooks = [dict(type='EarlyStoppingHook', monitor='accuracy/top1')]",
        "param_scheduler = [dict(type='ReduceOnPlateauLR', monitor='accuracy/top1', rule='greater')]",
    ],
)
def test_a_metric_that_will_be_there(text, tmp_path):
    assert faults(tmp_path, f"val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')\n{text}") == {}


def test_a_metric_that_a_hook_of_the_user_s_may_add(tmp_path):
    save = "default_hooks = dict(checkpoint=dict(save_best='own', rule='greater'))\n"
    assert list(faults(tmp_path, save)) == [BEST]
    assert faults(tmp_path, f"{save}custom_hooks = [dict(type='AddingHook')]") == {}


def test_types_may_be_classes_as_in_pure_python_configs(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(f'_base_ = [{str(QUICKSTART / "student_cnn_digits.py")!r}]\n')
    config = load_config(path, {'work_dir': str(tmp_path / 'run'), 'val_cfg.type': ValLoop})
    config.custom_hooks = [dict(type=EarlyStoppingHook, monitor='acc')]
    config.param_scheduler = [dict(type=ReduceOnPlateauLR, monitor='acc')]
    found = inspect_training(config).faults
    assert [fault.where for fault in found] == ['custom_hooks.0.monitor', 'param_scheduler.0.monitor']


def test_metrics_of_a_student_that_is_its_own_teacher(tmp_path):
    base, loop = (
        'methods/byot_vgg_cnn_digits.py',
        "val_cfg = dict(_delete_=True, type='kd_plugins.SelfDistillValLoop')\n",
    )
    assert faults(tmp_path, loop + SAVE.format('student.accuracy/top1'), base) == {}
    assert BEST in faults(tmp_path, SAVE.format('student.accuracy/top1'), base)
    assert BEST in faults(tmp_path, loop + SAVE.format('student.accuracy/top2'), base)


def test_a_best_checkpoint_by_a_metric_without_a_rule(tmp_path):
    metric = "val_evaluator = dict(_delete_=True, type='OwnMetric')\ntest_evaluator = val_evaluator\n"
    save = "default_hooks = dict(checkpoint=dict(save_best='auto'{}))"
    found = faults(tmp_path, metric + save.format(''))
    assert list(found) == ['default_hooks.checkpoint.rule']
    assert "rule='greater'" in found['default_hooks.checkpoint.rule'][2]
    assert faults(tmp_path, metric + save.format(", rule='greater'")) == {}


def test_a_metric_that_writes_files_writes_none(tmp_path):
    target = tmp_path / 'out.pkl'
    text = (
        f"val_evaluator = [dict(type='Accuracy'), dict(type='DumpResults', out_file_path={str(target)!r})]\n"
        "test_evaluator = val_evaluator\ndefault_hooks = dict(checkpoint=dict(save_best='top1'))"
    )
    assert list(faults(tmp_path, text)) == ['default_hooks.checkpoint.save_best']
    assert not target.exists()


def test_a_loop_of_a_user_s_own_is_left_alone(tmp_path):
    """Nobody knows what it gives to its evaluator, and what it makes of the metrics."""
    text = "val_evaluator = dict(topk=(1, 20))\nval_cfg = dict(type='OwnValLoop')"
    assert 'val_evaluator' not in faults(tmp_path, text)


def test_a_training_is_refused_before_its_first_step(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(
        f'_base_ = [{str(QUICKSTART / "student_cnn_digits.py")!r}]\n'
        "default_hooks = dict(checkpoint=dict(save_best='accuracy'))\n"
    )
    config = load_config(path, {'work_dir': str(tmp_path / 'run'), 'launcher': 'none'})
    with pytest.raises(UserError, match=r'default_hooks\.checkpoint\.save_best: expected a metric of the validation'):
        train(config)
    assert not (tmp_path / 'run').exists()


def test_predictions_that_no_loop_can_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageClassifier, 'predict', lambda self, inputs, data_samples=None: {'scores': inputs})
    found = faults(tmp_path, '', 'student_cnn_digits.py')
    assert found['model'][0] == 'predictions as a list, an entry for each image'
