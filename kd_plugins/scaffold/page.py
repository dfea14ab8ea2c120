"""The text of a config."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from kd_plugins.build import read_library_config
from kd_plugins.config_text import assign, comment, render
from kd_plugins.preflight.shapes import describe_shape
from kd_plugins.scaffold.data import DATASETS
from kd_plugins.scaffold.method import explain_weights, losses_of
from kd_plugins.scaffold.models import Model
from kd_plugins.scaffold.plan import Plan
from kd_plugins.scaffold.stages import Stage

NORMALISATION = ('mean', 'std', 'to_rgb', 'bgr_to_rgb', 'rgb_to_bgr')
AS_TRAINED = 'as the teacher was trained; the student, untrained, can learn with any'
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
        *_normalisation(plan),
        _explanation(plan),
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
    launch = f'python tools/train.py {path}'
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
    folder = os.path.relpath(plan.request.configs, plan.request.out.resolve().parent)
    return [base if '::' in base else Path(folder, base).as_posix() for base in plan.dataset.bases]


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


def _normalisation(plan: Plan) -> list[str]:
    """How a trained teacher wants its images, where a classifier's inherited config does otherwise."""
    if plan.dataset.classes is None or not _teacher_is_trained(plan):
        return []
    base = plan.student.whole if plan.own_recipe else read_library_config(plan.dataset.bases[0])
    wanted = _wanted(plan, base.get('data_preprocessor'), plan.teacher.whole.get('data_preprocessor'))
    return [comment(AS_TRAINED), assign('data_preprocessor', wanted), ''] if wanted else []


def _wanted(plan: Plan, inherited: Any, teacher: Any) -> dict[str, Any]:
    """What a trained teacher's normalisation has that the inherited one has not."""
    inherited, teacher = inherited or {}, teacher or {}
    if not _teacher_is_trained(plan) or all(inherited.get(key) == teacher.get(key) for key in NORMALISATION):
        return {}
    return {key: teacher[key] for key in NORMALISATION if key in teacher}


def _teacher_is_trained(plan: Plan) -> bool:
    return plan.teacher_knows_data and bool(plan.pretrained or plan.request.teacher_ckpt)


def _explanation(plan: Plan) -> str:
    lines = []
    if plan.own_recipe:
        lines.append("Data, schedule and hooks are the student's own; only the model is replaced.")
    else:
        lines.append(f'The schedule is {plan.dataset.recipe}; it is not tuned for this student.')
    if plan.student.mixes:
        mixes = ' and '.join(plan.student.mixes)
        lines.append(f'The student trains on mixed images ({mixes}), as it does alone; the teacher sees the same.')
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


def _describe(stage: Stage) -> str:
    element = '' if stage.source.data_idx is None else f'[{stage.source.data_idx}]'
    return f'{stage.source.path}{element} {describe_shape(stage.source.shape[1:])} (stride {stage.stride})'


def _losses(plan: Plan) -> dict[str, dict[str, Any]]:
    return losses_of(plan.method, plan.pairs, plan.logits, plan.dataset)


def _model(plan: Plan) -> str:
    distiller = dict(type='kd_plugins.ConfigurableDistiller', distill_losses=_losses(plan))
    lines = ['_delete_=True,'] if plan.own_recipe else []
    lines += [
        "type='kd_plugins.SingleTeacherDistill',",
        _part('architecture', plan.student, pretrained=False, **plan.changes(plan.student), **_preprocessor(plan)),
        _part('teacher', plan.teacher, pretrained=plan.pretrained, **plan.changes(plan.teacher)),
    ]
    if plan.request.teacher_ckpt:
        lines.append(f'teacher_ckpt={render(plan.request.teacher_ckpt)},')
    elif not plan.pretrained:
        lines += [comment(UNTRAINED), 'teacher_ckpt=None,']
    lines.append(f'distiller={render(distiller, indent=4, broken=2)},')
    return '\n'.join(['model = dict(', *(f'    {line}' for line in lines), ')'])


def _preprocessor(plan: Plan) -> dict[str, Any]:
    """How a trained teacher wants its images, where a detector's or a segmentor's own preprocessor does otherwise."""
    own, teacher = (model.whole.model.get('data_preprocessor') for model in (plan.student, plan.teacher))
    wanted = _wanted(plan, own, teacher)
    return dict(data_preprocessor=wanted) if wanted else {}


def _part(key: str, model: Model, **changes: Any) -> str:
    config: dict[str, Any] = dict(cfg_path=model.path, **changes)
    return f'{key}={render(config, indent=4, before=len(key) + 1)},'
