"""The text of a config."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_plugins.config_text import assign, comment, render
from kd_plugins.preflight.shapes import describe_shape
from kd_plugins.scaffold.data import DATASETS
from kd_plugins.scaffold.method import explain_weights, losses_of
from kd_plugins.scaffold.plan import Plan
from kd_plugins.scaffold.stages import Source, Stage

AS_THE_TEACHER = 'Images are normalised as the teacher was trained; the student, untrained, can learn with any.'
AS_EACH = 'Each model gets images that are normalised as its weights were trained; those of the teacher are converted.'
# in MultiTeacherDistill
TEACHER = 'teacher'
UNTRAINED = 'random weights teach nothing: train the teacher on these data, and name its checkpoint here'


def write_page(plan: Plan) -> str:
    """Write a plan down as a config in the short form.

    Args:
        plan: Of :func:`kd_plugins.scaffold.plan.make_plan`.
    """
    parts = [
        _header(plan),
        assign('_base_', _bases(plan)),
        '',
        *_images(plan),
        _explanation(plan),
        *_normalisation(plan),
        _model(plan),
        '',
        assign('val_cfg', dict(type='kd_plugins.SingleTeacherDistillValLoop')),
    ]
    return '\n'.join(parts) + '\n'


def _header(plan: Plan) -> str:
    needs = plan.dataset.needs
    if plan.request.teacher_ckpt:
        needs += f'; the teacher in {plan.request.teacher_ckpt}'
    elif plan.pretrained:
        needs += "; the teacher's weights are downloaded"
    else:
        needs += '; a teacher that was trained on these data (see teacher_ckpt)'
    path = plan.request.out.as_posix()
    processes = re.search(r'_(\d+)xb\d+', plan.student.name)
    launch = f'kd train {path}' if plan.request.configs is None else f'python tools/train.py {path}'
    if plan.own_recipe and processes:
        launch = f'bash tools/dist_train.sh {path} {processes[1]}'
    lines = [
        f'Purpose: {plan.method.title}, {plan.teacher.name} into {plan.student.name}, on {plan.dataset.title}',
        f'Needs: {needs}',
        f'Launch: {launch}',
        'Result: not measured',
    ]
    return comment('\n'.join(lines))


def _bases(plan: Plan) -> list[str]:
    if plan.own_recipe:
        return [plan.student.path]
    configs, bases = plan.request.configs, plan.dataset.bases
    if configs is None:
        return [base if '::' in base else f'kd_plugins::{base}' for base in bases]
    folder = os.path.relpath(configs, plan.request.out.resolve().parent)
    return [base if '::' in base else Path(folder, base).as_posix() for base in bases]


def _images(plan: Plan) -> list[str]:
    """How the digits become as large as the models need them."""
    if plan.dataset is not DATASETS['digits'] or plan.size[0] == plan.dataset.sizes[0]:
        return []
    return [
        comment('the digits are 8x8 pixels'),
        assign('enlarge', dict(type='Resize', scale=plan.size)),
        "train_pipeline = [enlarge, dict(type='NumpyToPIL'), _base_.affine, dict(type='PILToNumpy'), "
        "dict(type='PackInputs')]",
        "test_pipeline = [enlarge, dict(type='PackInputs')]",
        'train_dataloader = dict(dataset=dict(pipeline=train_pipeline))',
        'val_dataloader = dict(dataset=dict(pipeline=test_pipeline))',
        'test_dataloader = dict(dataset=dict(pipeline=test_pipeline))',
        '',
    ]


def _explanation(plan: Plan) -> str:
    lines = []
    if plan.own_recipe:
        lines.append("Data, schedule and hooks are the student's own; only the model is replaced.")
    else:
        lines.append(f'The schedule is {plan.dataset.recipe}; it is not tuned for this student.')
    if plan.student.mixes:
        mixes = ' and '.join(plan.student.mixes)
        lines.append(f'The student trains on mixed images ({mixes}), as it does alone; the teacher sees the same.')
    if plan.normalisation.of_teacher:
        lines.append(AS_EACH)
    elif plan.normalisation.on_top or plan.normalisation.in_student:
        lines.append(AS_THE_TEACHER)
    if plan.pairs:
        lines.append(f'Paired by resolution, student and teacher, at {plan.size[0]}x{plan.size[1]} pixels:')
        lines += [f'  {_describe(student)} and {_describe(teacher)}' for student, teacher in plan.pairs]
        if any('connector' in loss for loss in _losses(plan).values()):
            lines.append("connector='auto' becomes what makes the two meet; tools/check_config.py shows it.")
    if plan.logits or not plan.method.scores:
        lines.append(f'{explain_weights(plan.method, plan.dataset)}.')
    else:
        lines.append('No loss compares class scores: no module of one of the heads returns them.')
    return comment('\n'.join(lines))


def _normalisation(plan: Plan) -> list[str]:
    changes = plan.normalisation.on_top
    return [assign('data_preprocessor', changes)] if changes else []


def _describe(stage: Stage) -> str:
    element = '' if stage.source.data_idx is None else f'[{stage.source.data_idx}]'
    return f'{stage.source.path}{element} {describe_shape(stage.source.shape[1:])} (stride {stage.stride})'


def _losses(plan: Plan) -> dict[str, dict[str, Any]]:
    pairs, scores = plan.pairs, plan.logits
    if plan.normalisation.of_teacher:
        pairs = [(student, replace(teacher, source=_of_teacher(teacher.source))) for student, teacher in pairs]
        scores = (scores[0], _of_teacher(scores[1])) if scores else None
    return losses_of(plan.method, pairs, scores, plan.dataset)


def _of_teacher(source: Source) -> Source:
    return replace(source, path=f'{TEACHER}.{source.path}')


def _model(plan: Plan) -> str:
    distiller = dict(type='kd_plugins.ConfigurableDistiller', distill_losses=_losses(plan))
    normalisation = plan.normalisation
    kind = 'MultiTeacherDistill' if normalisation.of_teacher else 'SingleTeacherDistill'
    student = dict(cfg_path=plan.student.path, pretrained=False, **plan.changes(plan.student))
    if normalisation.in_student:
        student['data_preprocessor'] = normalisation.in_student
    lines = ['_delete_=True,'] if plan.own_recipe else []
    lines += [f"type='kd_plugins.{kind}',", _argument('architecture', student), *_teacher(plan)]
    lines.append(_argument('distiller', distiller, broken=2))
    return '\n'.join(['model = dict(', *(f'    {line}' for line in lines), ')'])


def _teacher(plan: Plan) -> list[str]:
    config = dict(cfg_path=plan.teacher.path, pretrained=plan.pretrained, **plan.changes(plan.teacher))
    checkpoint = plan.request.teacher_ckpt
    if plan.normalisation.of_teacher:
        given = dict(ckpt_path=checkpoint) if checkpoint else {}
        teacher = dict(build_cfg=config, **given, data_preprocessor=plan.normalisation.of_teacher)
        return [_argument('teachers', {TEACHER: teacher}, broken=2)]
    lines = [_argument('teacher', config)]
    if checkpoint:
        return [*lines, _argument('teacher_ckpt', checkpoint)]
    return lines if plan.pretrained else [*lines, comment(UNTRAINED), _argument('teacher_ckpt', None)]


def _argument(key: str, value: Any, broken: int = 0) -> str:
    return f'{key}={render(value, indent=4, before=len(key) + 1, broken=broken)},'
