"""The table counts what each file gave, and a warning names records of a teacher that depend on random weights."""

import copy
import sys

import pytest
import torch
from faulty import digits_config
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from toy import TEACHER_CHANNELS, ToyClassifier, distiller_config, make_runner, runner_config

from kd_plugins.preflight import inspect_training, render
from kd_plugins.preflight.summary import is_absent

FEATURE = dict(type='L2Loss', student='backbone.stages.2', teacher='backbone.stages.2', connector='auto')


def built(config):
    with DefaultScope.overwrite_default_scope('mmpretrain'), MODELS.switch_scope_and_registry('mmpretrain') as models:
        return models.build(copy.deepcopy(config))


@pytest.fixture
def config(tmp_path):
    config = digits_config()
    config['model']['distiller']['distill_losses'] = dict(
        loss_kl=dict(type='KLDivergence', tau=4, student='head.fc', teacher='head.fc'),
    )
    config['work_dir'] = str(tmp_path / 'run')
    return config


@pytest.fixture
def saved(config, tmp_path):
    """Saves weights of the teacher that the config describes; returns the path."""

    def save(role='teacher', prefix='', keep='', rename=''):
        state = built(config['model'][role]).state_dict()
        state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix or keep)}
        path = tmp_path / f'{role}.pth'
        torch.save({'state_dict': {f'{rename}{name}': value for name, value in state.items()}}, path)
        return str(path)

    return save


def inspected(config, **kwargs):
    findings = inspect_training(Config(copy.deepcopy(config)), **kwargs)
    assert findings.faults == []
    return findings, {model.role: model for model in findings.models}


def parts(summary):
    return {part.name: (part.loaded, part.tensors) for part in summary.parts}


def untrained(findings):
    return [fault for fault in findings.warnings if 'trained weights' in fault.expected]


@pytest.mark.parametrize('role', ['teacher', 'architecture'])
@pytest.mark.parametrize('prefix', [None, 'backbone.'])
def test_init_cfg_of_a_backbone(config, saved, role, prefix):
    path = saved(role) if prefix else saved(role, prefix='backbone.')
    start = dict(type='Pretrained', checkpoint=path, **(dict(prefix=prefix) if prefix else {}))
    config['model'][role]['backbone']['init_cfg'] = start
    findings, models = inspected(config)
    summary = models[{'architecture': 'student'}.get(role, role)]
    assert parts(summary)['head'] == (0, 2)
    loaded, tensors = parts(summary)['backbone']
    assert loaded == tensors == summary.loaded == summary.tensors - 2
    assert summary.weights == path
    assert [part.files for part in summary.parts] == [(path,), ()]
    warnings = untrained(findings)
    if role == 'architecture':  # where the teacher is random as a whole, and a student may be
        assert [fault.where for fault in warnings] == ['model.teacher']
        return
    (fault,) = warnings
    assert fault.where == 'model.distiller.distill_losses.loss_kl.teacher'
    assert 'head.fc.weight, head.fc.bias' in fault.got
    assert 'teacher_ckpt' in fault.advice


def test_init_cfg_whose_names_fit_nothing(config, saved):
    config['model']['teacher']['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint=saved(rename='other.'))
    findings, models = inspected(config)
    assert (models['teacher'].loaded, models['teacher'].weights) == (0, 'random')
    assert [fault.where for fault in untrained(findings)] == ['model.teacher']


def test_a_record_before_what_is_random(config, saved):
    config['model']['teacher']['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint=saved(prefix='backbone.'))
    config['model']['distiller']['distill_losses'] = dict(loss_feature=FEATURE)
    assert untrained(inspected(config)[0]) == []


@pytest.mark.parametrize(
    ('student', 'teacher', 'random'),
    [
        ('backbone.stages.0', 'backbone.stages.0', 0),
        ('backbone.stages.1', 'backbone.stages.1', 5),
        ('backbone.stages.1', dict(type='ModuleInputs', source='backbone.stages.1', data_idx=0), 0),
        (
            dict(source='neck', data_idx=0),
            dict(type='MethodOutputs', source='mmpretrain.models.necks.gap.GlobalAveragePooling.forward', data_idx=0),
            5,
        ),
        (
            dict(type='Parameter', source='head.fc.weight'),
            dict(type='Parameter', source='head.fc.weight'),
            0,
        ),
        (
            dict(type='ModuleOutputGrads', source='backbone.stages.0'),
            dict(type='ModuleOutputGrads', source='backbone.stages.0'),
            5,
        ),
    ],
)
def test_what_runs_before_a_record(config, saved, student, teacher, random):
    """The second stage of the teacher has no weights in the file, one of a convolution and four of its BatchNorm."""
    path = saved()
    state = torch.load(path)['state_dict']
    torch.save({name: value for name, value in state.items() if 'stages.1.0.' not in name}, path)
    config['model']['teacher']['init_cfg'] = dict(type='Pretrained', checkpoint=path)
    loss = dict(type='L2Loss', student=student, teacher=teacher, connector='auto')
    config['model']['distiller']['distill_losses'] = dict(loss_feature=loss)
    findings, models = inspected(config)
    assert 0 < models['teacher'].loaded < models['teacher'].tensors
    assert [f'for which {random} of ' in fault.got for fault in untrained(findings)] == [True] * bool(random)


def test_a_teacher_among_several(config, saved):
    teacher = config['model'].pop('teacher')
    begun = copy.deepcopy(teacher)
    config['model']['teacher'] = teacher
    begun['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint=saved(), prefix='backbone.')
    config['model'] = dict(
        type='kd_plugins.MultiTeacherDistill',
        architecture=config['model']['architecture'],
        teachers=dict(
            a=dict(build_cfg=begun),
            b=dict(build_cfg=teacher, ckpt_path=saved()),
            c=dict(build_cfg=copy.deepcopy(teacher)),
        ),
        distiller=dict(
            type='kd_plugins.ConfigurableDistiller',
            distill_losses=dict(
                loss_a=dict(type='KLDivergence', tau=4, student='head.fc', teacher='a.head.fc'),
                loss_b=dict(type='KLDivergence', tau=4, student='head.fc', teacher='b.head.fc'),
                loss_all=dict(
                    type='KLDivergence', student='head.fc', teacher=dict(type='AveragedLogits', source='head.fc')
                ),
            ),
        ),
    )
    findings, models = inspected(config)
    assert models['teacher b'].loaded == models['teacher b'].tensors
    assert parts(models['teacher a'])['head'] == (0, 2)
    assert models['teacher c'].loaded == 0
    assert [fault.where for fault in untrained(findings)] == [
        'model.distiller.distill_losses.loss_a.teacher',
        'model.distiller.distill_losses.loss_all.teacher.source',
        'model.teachers.c',
    ]


def test_weights_that_are_not_here(config, tmp_path):
    config['model']['teacher']['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'no.pth'))
    findings, models = inspected(config, ready=False)
    assert (models['teacher'].loaded, models['teacher'].weights) == (0, 'init_cfg (not loaded)')
    assert untrained(findings) == []


@pytest.mark.parametrize(
    ('place', 'where', 'is_one'),
    [
        ('model.teacher_ckpt', 'model.teacher', True),
        ('model.teacher.backbone.init_cfg.checkpoint', 'model.teacher', True),
        ('model.teachers.a.ckpt_path', 'model.teachers.a', True),
        ('model.teachers.ab.ckpt_path', 'model.teachers.a', False),
        ('model.architecture.pretrained', 'model.teacher', False),
    ],
)
def test_whose_weights_are_not_here(place, where, is_one):
    assert is_absent(where, [place]) is is_one


@pytest.mark.parametrize('resume', [False, True])
def test_load_from(tmp_path, resume):
    """Of a file with the student and half a connector, and of a checkpoint of the training."""
    make_runner(tmp_path / 'run').train()
    path = tmp_path / 'run/epoch_1.pth'
    if not resume:
        state = torch.load(path, weights_only=False)['state_dict']
        names = [name for name in state if name.startswith('architecture.') or name.endswith('conv.weight')]
        path = tmp_path / 'weights.pth'
        torch.save({name: state[name] for name in names}, path)
    config = Config(runner_config(tmp_path / 'run', epochs=2))
    config.update(load_from=str(path), resume=resume)
    config.model.data_preprocessor = None
    findings = inspect_training(config)
    assert findings.faults == []
    models = {model.role: model for model in findings.models}
    assert models['student'].loaded == models['student'].tensors
    assert models['connectors'].loaded == (models['connectors'].tensors if resume else 1)
    assert models['student'].weights == models['connectors'].weights == str(path)
    assert models['teacher'].loaded == 0


def test_a_model_that_is_given_has_its_weights(tmp_path):
    config = Config(runner_config(tmp_path))
    config.model.teacher = ToyClassifier(TEACHER_CHANNELS)
    config.model.distiller = distiller_config()
    findings = inspect_training(config)
    assert findings.faults == []
    teacher, student, _ = findings.models
    assert (teacher.loaded, teacher.weights) == (teacher.tensors, 'given')
    assert (student.loaded, student.weights) == (0, 'random')
    assert untrained(findings) == []


def test_counts_of_a_config_with_faults(config, saved):
    config['model']['architecture']['init_cfg'] = dict(type='Pretrained', checkpoint=saved('architecture'))
    config['optim_wrapper']['optimizer']['type'] = 'SGDD'
    findings = inspect_training(Config(config))
    assert [fault.where for fault in findings.faults] == ['optim_wrapper.optimizer.type']
    student = next(model for model in findings.models if model.role == 'student')
    assert student.loaded == student.tensors


def test_the_table_shows_the_parts_of_what_was_loaded_in_part(config, saved, capsys):
    config['model']['teacher']['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint=saved(), prefix='backbone.')
    findings, models = inspected(config)
    render.print_findings(findings, render.report_console(sys.stdout, False))
    out = capsys.readouterr().out
    teacher = models['teacher']
    assert f'{teacher.loaded} of {teacher.tensors}' in out
    assert f'backbone {teacher.loaded} of {teacher.loaded}, head 0 of 2' in out
    assert findings.as_dict()['models'][0]['parts'][1] == dict(name='head', tensors=2, loaded=0, files=())
