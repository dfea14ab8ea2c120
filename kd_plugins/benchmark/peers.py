"""Other libraries' training steps, in their own interfaces, as their documentation has them."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.benchmark.arm import LeftOut
from kd_plugins.benchmark.ours import step_of
from kd_plugins.benchmark.recipe import LogitTerm, Recipe
from kd_plugins.benchmark.workload import Workload
from kd_plugins.compat.mmrazor_twin import build_mmrazor_twin
from kd_plugins.errors import UserError, describe_error

Step = Callable[[], torch.Tensor]


def mmrazor_step(workload: Workload) -> Step:
    """Step of MMRazor's ``SingleTeacherDistill.train_step`` with the config's recorders, connectors and losses.

    Raises:
        LeftOut: It is not installed, or cannot do the config.
    """
    ours = workload.algorithm()
    spec = getattr(getattr(ours, 'distiller', None), 'spec', None)
    if type(ours).__name__ != 'SingleTeacherDistill' or spec is None:
        raise LeftOut(f'the arm is written for SingleTeacherDistill, not for {type(ours).__name__}')
    try:
        twin: Any = build_mmrazor_twin(workload.student(), workload.teacher(), spec)
    except UserError as error:
        fault = error.faults[0]
        raise LeftOut(f'{fault.got}; {fault.advice}') from error
    twin.distiller.connectors.load_state_dict(ours.distiller.connectors.state_dict())
    twin.data_preprocessor = copy.deepcopy(ours.data_preprocessor)
    twin.to(workload.setting.device)
    # it returns None
    twin.train()
    return step_of(twin, workload)


def torchdistill_step(workload: Workload, recipe: Recipe) -> Step:
    """Step of torchdistill's ``DistillationBox`` with its ``KDLoss``, as its ImageNet configs have it.

    Raises:
        LeftOut: It is not installed, or cannot do the config.
    """
    term = _one_logit_term('torchdistill', recipe)
    box_of = _import('torchdistill.core.distillation', 'pip install --no-deps torchdistill==1.1.5').get_distillation_box
    if term.reduction == 'sum':
        raise LeftOut('its KDLoss sums the cross entropy too where it sums the divergence')
    student, teacher, setting = workload.student(), workload.teacher(), workload.setting
    loss = dict(
        student_module_path=term.student,
        student_module_io='output',
        teacher_module_path=term.teacher,
        teacher_module_io='output',
        temperature=term.tau,
        alpha=1.0,
        beta=term.weight,
        reduction=term.reduction,
    )
    config = dict(
        num_epochs=1,
        teacher=dict(requires_grad=False, forward_proc='forward_batch_only', forward_hook=dict(output=[term.teacher])),
        student=dict(forward_proc='forward_batch_only', forward_hook=dict(output=[term.student])),
        criterion=dict(
            key='WeightedSumLoss',
            kwargs=dict(sub_terms=dict(kd=dict(criterion=dict(key='KDLoss', kwargs=loss), weight=1.0))),
        ),
    )
    box = box_of(teacher, student, {}, config, torch.device(setting.device), None, False, 1.0)
    # of the config's kind, like that of the other arms; its own registry has others
    box.optimizer, box.lr_scheduler, box.max_grad_norm, box.grad_accum_step = (
        workload.optimizer(student.parameters()),
        None,
        None,
        1,
    )
    box.pre_epoch_process()
    preprocess, raw, labels = workload.preprocessor(), workload.batch(), workload.labels()

    def step() -> torch.Tensor:
        images = preprocess(raw, True)['inputs']
        box.pre_forward_process()
        with setting.autocast():
            total = box.forward_process(images, labels, None)
        box.post_forward_process(total)
        return total.detach()

    return step


def modelopt_step(workload: Workload, recipe: Recipe) -> Step:
    """Step of NVIDIA ModelOpt's ``mtd.convert`` with mode ``kd_loss`` and ``LogitsDistillationLoss``.

    Raises:
        LeftOut: It is not installed, or cannot do the config.
    """
    term = _one_logit_term('modelopt', recipe)
    distill = _import('modelopt.torch.distill', 'pip install --no-deps nvidia-modelopt==0.47')
    # its balancer weighs the two losses by a share w and 1 - w, and refuses other sums: ours is that times 1 + weight
    share, factor = term.weight / (1 + term.weight), 1 + term.weight
    options = dict(
        teacher_model=workload.teacher(),
        criterion={(term.student, term.teacher): distill.LogitsDistillationLoss(term.tau, term.reduction)},
        loss_balancer=_quietly(distill.StaticLossBalancer, [share]),
    )
    model: nn.Module = _quietly(distill.convert, workload.student(), mode=[('kd_loss', options)])
    model.train()
    optimizer = workload.optimizer(model.parameters())
    preprocess, raw, labels, setting = workload.preprocessor(), workload.batch(), workload.labels(), workload.setting

    def step() -> torch.Tensor:
        images = preprocess(raw, True)['inputs']
        with setting.autocast():
            logits = model(images)
            total = factor * model.compute_kd_loss(student_loss=F.cross_entropy(logits, labels))  # type: ignore[operator]
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        return total.detach()

    return step


def _one_logit_term(name: str, recipe: Recipe) -> LogitTerm:
    if recipe.hints or len(recipe.logits) != 1:
        raise LeftOut(f'the arm of {name} does logit KD alone; this config has more')
    return recipe.logits[0]


def _import(module: str, install: str) -> Any:
    package = module.partition('.')[0]
    if importlib.util.find_spec(package) is None:
        raise LeftOut(f'{package} is not installed: {install}')
    try:
        return _quietly(importlib.import_module, module)
    except ImportError as error:
        # without its dependencies, or with others than it wants
        raise LeftOut(f'{package} cannot be imported: {describe_error(error, 160)}') from error


def _quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return function(*args, **kwargs)
