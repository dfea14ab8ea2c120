"""Distilling a detector's pyramid: our step against a plain loop, and against ours with the whole teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_plugins.benchmark.arm import Arm
from kd_plugins.benchmark.setting import Setting
from kd_plugins.benchmark.workload import read_config
from kd_plugins.distiller import RecordSpec
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import build_from_config

PKD = 'PKDLoss'
BOXES = 8


def detector_arms(path: str, setting: Setting, options: dict[str, Any] | None = None) -> list[Arm]:
    """The steps that are compared, each on models and an optimiser of its own with equal weights.

    ``ours`` is ``train_step`` of the config. In ``ours, whole teacher`` it computes its head and its losses, as MMRazor
    lets it: ``teacher_forward=dict(stop_early=False, mode='loss')``. ``plain`` is written out here: the teacher to its
    neck without gradient, the student's losses, PKD of the same levels, backward, optimiser.

    Args:
        path: A config that distils a detector of one stage by ``PKDLoss`` of the levels of its neck.
        setting: Size and number of the images, which are noise.
        options: Values of the config by key.

    Raises:
        UserError: The config is another one.
    """
    config = read_config(path, options)
    for side in ('architecture', 'teacher'):
        if not isinstance(config.model.get(side), dict):
            raise _refusal(f'a {config.model.get("type")} without {side}')
        # weights do not change what a step costs
        config.model[side].backbone = {**config.model[side].get('backbone', {}), 'init_cfg': None}
    whole = copy.deepcopy(config)
    whole.model.teacher_forward = dict(stop_early=False, mode='loss')
    models = [_algorithm(one) for one in (config, whole, config)]
    compared = _compared(models[2])
    data = _batch(setting, models[2].student.bbox_head.num_classes)
    _settle(models[0].teacher, models[0].data_preprocessor(copy.deepcopy(data), True)['inputs'])
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
        model.teacher.load_state_dict(models[0].teacher.state_dict())
    return [
        Arm('ours', _our_step(models[0], config, data)),
        Arm('ours, whole teacher', _our_step(models[1], config, data)),
        Arm('plain', _plain_step(models[2], config, data, compared)),
    ]


def _algorithm(config: Config) -> Any:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        algorithm = build_from_config(config)
    return algorithm.train()


def _refusal(got: str) -> UserError:
    expected = f'a detector of one stage that is distilled by {PKD} of levels of its neck'
    return UserError(Fault('CONFIG', expected, got, 'give for instance one of configs/pkd'))


def _compared(algorithm: Any) -> list[tuple[float, int, int]]:
    """Of each loss its weight, and the levels of the student's and of the teacher's neck that meet in it."""
    losses = algorithm.distiller.distill_losses
    kinds = sorted({type(loss).__name__ for loss in losses.values()})
    if kinds != [PKD] or not hasattr(algorithm.student, 'bbox_head'):
        raise _refusal(f'a {type(algorithm.student).__name__} that is distilled by {", ".join(kinds)}')
    found = []
    for spec in algorithm.distiller.spec.mappings:
        own, theirs = (_level(algorithm.distiller, spec.arguments[argument]) for argument in ('preds_S', 'preds_T'))
        found.append((losses[spec.name].loss_weight, own, theirs))
    return found


def _level(distiller: Any, record: RecordSpec) -> int:
    recorders = distiller.student_recorders if record.from_student else distiller.teacher_recorders
    source = recorders.recorders[record.recorder].source
    if source != 'neck' or record.data_idx is None or record.connector is not None:
        through = ' through a connector' if record.connector is not None else ''
        level = 'no data_idx' if record.data_idx is None else f'data_idx={record.data_idx}'
        raise _refusal(f'{source!r} with {level}{through} ({record.where})')
    return record.data_idx


def _settle(teacher: nn.Module, inputs: Tensor) -> None:
    """Give a random teacher the BatchNorm statistics of the batch, without which its activations fade."""
    norms = [module for module in teacher.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        teacher.extract_feat(inputs)  # type: ignore[operator]
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum


def _batch(setting: Setting, classes: int) -> dict[str, Any]:
    """Noise, and boxes of random classes on it."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    size, generator = setting.size, torch.Generator().manual_seed(0)
    images, samples = [], []
    for _ in range(setting.batch):
        images.append(torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=generator))
        corners = torch.rand(BOXES, 2, generator=generator) * size * 0.6
        sides = (0.1 + 0.3 * torch.rand(BOXES, 2, generator=generator)) * size
        labels = torch.randint(0, classes, (BOXES,), generator=generator)
        shape = (size, size)
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, ori_shape=shape, pad_shape=shape, scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(bboxes=torch.cat([corners, corners + sides], 1), labels=labels)
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def _our_step(algorithm: Any, config: Config, data: dict[str, Any]) -> Callable[[], Tensor]:
    with DefaultScope.overwrite_default_scope(config.default_scope):
        wrapper = build_optim_wrapper(algorithm, copy.deepcopy(config.optim_wrapper))
    return lambda: algorithm.train_step(copy.deepcopy(data), wrapper)['loss'].detach()


def _plain_step(
    algorithm: Any, config: Config, data: dict[str, Any], compared: list[tuple[float, int, int]]
) -> Callable[[], Tensor]:
    student, teacher, preprocessor = algorithm.student, algorithm.teacher, algorithm.data_preprocessor
    with DefaultScope.overwrite_default_scope(config.default_scope):
        optimizer = build_optim_wrapper(student, copy.deepcopy(config.optim_wrapper)).optimizer

    def standard(level: Tensor) -> Tensor:
        flat = level.transpose(0, 1).flatten(1)  # (N, C, H, W) -> (C, NHW)
        return (flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 1e-6)

    def step() -> Tensor:
        prepared = preprocessor(copy.deepcopy(data), True)
        with torch.no_grad():
            targets = teacher.extract_feat(prepared['inputs'])
        levels = student.extract_feat(prepared['inputs'])
        losses = student.bbox_head.loss(levels, prepared['data_samples'])
        total = sum(part for value in losses.values() for part in (value if isinstance(value, list) else [value]))
        for weight, own, theirs in compared:
            total = total + weight * F.mse_loss(standard(levels[own]), standard(targets[theirs])) / 2
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return total.detach()

    return step
