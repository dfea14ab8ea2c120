"""Which runs a sweep has, and where they go."""

import dataclasses
import json
from pathlib import Path

import pytest
from made_results import made_result

from kd_plugins.engine.config import load_config
from kd_plugins.engine.run_result import describe_config
from kd_plugins.errors import UserError
from kd_plugins.report.result import write_result
from kd_plugins.sweep.plan import claim, plan, same_compute

QUICKSTART = Path(__file__).parents[2] / 'configs/quickstart'


@pytest.fixture
def distillation():
    return load_config(QUICKSTART / 'kd_vgg_cnn_digits.py')


def labels(arms):
    return [(arm.label, [str(folder) for folder in arm.partners]) for arm in arms]


def test_one_baseline_for_what_does_not_change_it(distillation):
    arms = plan(distillation, {'tau': [2, 4]}, None, Path('w'))
    assert labels(arms) == [
        ('main tau=2', []),
        ('main tau=4', []),
        ('baseline', ['w/main/tau=2', 'w/main/tau=4']),
    ]
    assert [
        arm.config.model.get('distiller', {}).get('distill_losses', {}).get('loss_kl', {}).get('tau') for arm in arms
    ] == [2, 4, None]
    assert str(arms[0].run_folder(3)) == 'w/main/tau=2/seed_3'
    assert str(arms[2].run_folder(0)) == 'w/baseline/seed_0'


def test_a_baseline_for_each_schedule(distillation):
    arms = plan(distillation, {'lr': [0.1, 0.2], 'tau': [2, 4]}, None, Path('w'))
    assert labels(arms)[4:] == [
        ('baseline lr=0.1', ['w/main/lr=0.1,tau=2', 'w/main/lr=0.1,tau=4']),
        ('baseline lr=0.2', ['w/main/lr=0.2,tau=2', 'w/main/lr=0.2,tau=4']),
    ]
    assert [arm.config.optim_wrapper.optimizer.lr for arm in arms[4:]] == [0.1, 0.2]


def test_names_stay_when_values_are_added(distillation):
    assert labels(plan(distillation, {'tau': [8]}, None, Path('w')))[1][0] == 'baseline'
    few, more = (labels(plan(distillation, {'lr': rates}, None, Path('w'))) for rates in ([0.1], [0.1, 0.2]))
    assert few == [more[0], more[2]]
    assert few[1][0] == 'baseline lr=0.1'


def test_a_key_means_the_same_in_a_baseline(distillation):
    # of the distillation only the KL has that weight; the cross entropy of the other has one, too
    distillation.model.distiller.distill_losses.loss_kl.loss_weight = 1.0
    other = load_config(QUICKSTART / 'student_cnn_digits.py')
    other.model.head.loss = dict(type='CrossEntropyLoss', loss_weight=1.0)
    arms = plan(
        distillation,
        {'loss_weight': [1.0, 10.0], 'architecture.backbone.stages': [((8,),), ((16,),)]},
        other,
        Path('w'),
    )
    assert [arm.label for arm in arms[4:]] == [
        'baseline architecture.backbone.stages=((8,),)',
        'baseline architecture.backbone.stages=((16,),)',
    ]
    assert [arm.config.model.head.loss.loss_weight for arm in arms[4:]] == [1.0, 1.0]
    assert [arm.config.model.backbone.stages for arm in arms[4:]] == [((8,),), ((16,),)]


def test_types_of_ours_are_written_as_they_are_read(distillation, tmp_path):
    arm = plan(distillation, {'model.type': ['SingleTeacherDistill']}, None, tmp_path)[0]
    assert arm.config.model.type == 'kd_plugins.SingleTeacherDistill'
    assert describe_config(load_config(arm.write_config()))['fingerprint'] == arm.fingerprint


def test_refuses_what_a_file_cannot_hold(distillation, tmp_path):
    distillation.model.distiller.distill_losses.loss_kl.tau = float('inf')
    arm = plan(distillation, {}, None, tmp_path)[0]
    with pytest.raises(UserError):
        arm.write_config()


def test_a_baseline_of_the_users(distillation):
    other = load_config(QUICKSTART / 'student_cnn_digits.py')
    arms = plan(distillation, {'lr': [0.1], 'tau': [2, 4]}, other, Path('w'))
    assert arms[2].config.optim_wrapper.optimizer.lr == 0.1
    assert arms[2].config.experiment.config == other.filename


def test_nothing_to_be_held_against():
    (arm,) = plan(load_config(QUICKSTART / 'student_cnn_digits.py'), {}, None, Path('w'))
    assert arm.label == 'main'


def test_a_config_file_is_read_as_what_it_is(distillation, tmp_path):
    for arm in plan(distillation, {'tau': [2, 4]}, None, tmp_path):
        read = load_config(arm.write_config())
        assert describe_config(read) == describe_config(arm.config)
        assert describe_config(read)['file'] == distillation.filename
        assert read.experiment.arm == arm.kind


def test_a_run_is_done_when_its_result_is_there(distillation, tmp_path):
    arm, _ = plan(distillation, {}, None, tmp_path)
    assert not arm.is_done(0)
    folder = arm.run_folder(0)
    folder.mkdir(parents=True)
    result = made_result(config=describe_config(arm.config))
    write_result(result, folder)
    assert arm.is_done(0)

    write_result(dataclasses.replace(result, seed=1), folder)
    with pytest.raises(UserError, match='the result of another config'):
        arm.is_done(0)


def test_as_much_compute(distillation, tmp_path):
    _, baseline = plan(distillation, {}, None, tmp_path)
    extended = same_compute(baseline, 1.5, tmp_path)
    assert extended.kind == 'baseline_same_compute'
    assert extended.config.train_cfg.max_iters == 450
    assert extended.config.experiment.arm == 'baseline_same_compute'
    assert same_compute(baseline, 0.9, tmp_path) is None

    extended.write_config()
    # decided once, whatever is measured later
    assert same_compute(baseline, 2.0, tmp_path).fingerprint == extended.fingerprint


class TestClaim:
    described = dict(config='a', keys=['tau'])

    def test_goes_on(self, tmp_path):
        folder = tmp_path / 'new' / 'sweep'
        claim(folder, self.described)
        (folder / 'main').mkdir()
        claim(folder, self.described)
        assert json.loads((folder / 'sweep.json').read_text()) == self.described

    def test_refuses_another_sweep(self, tmp_path):
        claim(tmp_path, self.described)
        with pytest.raises(UserError, match='that of another config'):
            claim(tmp_path, dict(self.described, config='b'))

    def test_refuses_a_folder_with_something_else(self, tmp_path):
        (tmp_path / 'epoch_1.pth').touch()
        with pytest.raises(UserError, match='holds something else'):
            claim(tmp_path, self.described)
        assert [file.name for file in tmp_path.iterdir()] == ['epoch_1.pth']

    def test_refuses_what_it_cannot_read(self, tmp_path):
        (tmp_path / 'sweep.json').write_text('{')
        with pytest.raises(UserError, match='what a sweep wrote'):
            claim(tmp_path, self.described)
