"""Validation of distillations with no teacher of their own, and with several; test_training has those with one."""

import pytest
import torch
from mmengine.hooks import Hook
from toy import CLASSES, algorithm_config, logits_only, make_runner

from kd_plugins.errors import UserError

SELF = dict(
    type='kd_plugins.SelfDistill',
    architecture=dict(type='ToyClassifier'),
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        student_recorders=dict(feature=dict(type='ModuleOutputs', source='relu')),
        teacher_recorders=dict(feature=dict(type='ModuleOutputs', source='relu')),
        distill_losses=dict(loss_feature=dict(type='L2Loss')),
        loss_forward_mappings=dict(
            loss_feature=dict(
                s_feature=dict(recorder='feature', from_student=True, record_idx=0),
                t_feature=dict(recorder='feature', from_student=False, record_idx=1),
            )
        ),
    ),
)


def self_distilling(work_dir, save_best=None, **changes):
    return make_runner(
        work_dir,
        SELF,
        val_cfg=dict(type='kd_plugins.SelfDistillValLoop'),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=-1, save_best=save_best)),
        # runs of the same second would share their best score
        experiment_name=work_dir.name,
        **changes,
    )


class Metrics(Hook):
    """Keeps what the hooks are told."""

    def after_val_epoch(self, runner, metrics=None):
        self.seen = dict(metrics)


def always(model, winner):
    """Make a classifier answer with one class."""
    model.fc.weight.data.zero_()
    model.fc.bias.data.copy_(torch.eye(CLASSES)[winner])


class TestSelfDistill:
    def test_metrics_have_the_prefix(self, tmp_path):
        runner, hook = self_distilling(tmp_path), Metrics()
        runner.register_hook(hook)
        always(runner.model.student, 2)
        # labels 0 1 2 0 1 2 0 1
        assert runner.val() == {'student.accuracy': 2 / 8}
        assert hook.seen == {'student.accuracy': 2 / 8}

    @pytest.mark.parametrize('save_best', ['auto', 'student.accuracy', ['student.accuracy']])
    def test_the_best_is_saved(self, tmp_path, save_best):
        runner = self_distilling(tmp_path, save_best, epochs=2)
        runner.train()
        best = list(tmp_path.glob('best_student.accuracy_epoch_*.pth'))
        assert len(best) == 1
        hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'CheckpointHook')
        assert hook.rules == ['greater']

    @pytest.mark.parametrize('save_best', ['accuracy', ['student.accuracy', 'accuracy']])
    def test_best_of_a_metric_without_the_prefix(self, tmp_path, save_best):
        runner = self_distilling(tmp_path, save_best)
        with pytest.raises(UserError, match=r"checkpoint\.save_best: .*got 'accuracy'; write 'student\.accuracy'"):
            runner.train()
        assert not runner.iter

    def test_it_has_no_teacher_to_validate(self, tmp_path):
        with pytest.raises(UserError, match=r'SingleTeacherDistillValLoop for a SelfDistill, which has no teacher'):
            make_runner(tmp_path, SELF).val()

    def test_its_distillation_can_be_stopped(self, tmp_path):
        hook = dict(type='kd_plugins.StopDistillHook', stop_epoch=1)
        runner = self_distilling(tmp_path, epochs=2, custom_hooks=[hook])
        runner.train()
        assert runner.model.distillation_stopped


class TestSeveralTeachers:
    def make(self, work_dir, **changes):
        distiller = logits_only()
        for recorder in distiller['teacher_recorders'].values():
            recorder['source'] = f'one.{recorder["source"]}'
        teacher = algorithm_config()['teacher']
        model = dict(
            type='kd_plugins.MultiTeacherDistill',
            architecture=dict(type='ToyClassifier'),
            teachers=dict(one=dict(build_cfg=teacher), two=dict(build_cfg=teacher)),
            distiller=distiller,
        )
        return make_runner(work_dir, model, **changes)

    def test_each_has_metrics_under_its_name(self, tmp_path):
        runner = self.make(tmp_path)
        models = (runner.model.student, *runner.model.teacher_models().values())
        for winner, model in enumerate(models):
            always(model, winner)
        assert runner.val() == {'accuracy': 3 / 8, 'teacher.one.accuracy': 3 / 8, 'teacher.two.accuracy': 2 / 8}

    def test_they_are_evaluated_once_a_run(self, tmp_path):
        runner = self.make(tmp_path, epochs=2)
        runner.train()
        # 8 images in batches of 4
        assert [model.calls['predict'] for model in runner.model.teacher_models().values()] == [2, 2]

    def test_their_distillation_can_be_stopped(self, tmp_path):
        hook = dict(type='kd_plugins.StopDistillHook', stop_epoch=1)
        runner = self.make(tmp_path, epochs=2, custom_hooks=[hook], val_cfg=dict(type='ValLoop'))
        runner.train()
        # in the first step, a look in each mode and a whole forward, as the batch has more images than the look had; in
        # the second, a forward that ends with the logits of the first teacher, the only ones that are recorded
        assert [dict(model.calls) for model in runner.model.teacher_models().values()] == [
            {'loss': 1, 'tensor': 3},
            {'loss': 1, 'tensor': 2},
        ]
