"""What a distillation is held against: the same training without it, for as long or for as much compute."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

from kd_plugins.build import FALLBACK_SCOPE, resolve_model_config
from kd_plugins.checkpoint import STUDENT_PREFIX as STUDENT
from kd_plugins.compat.names import MMPRETRAIN
from kd_plugins.compat.preprocessing import preprocessor_for_mmpretrain
from kd_plugins.engine.cache_config import use_teacher_cache
from kd_plugins.errors import Fault, UserError

# what steers a distillation and has nothing to do in a training without one
DISTILL_HOOKS = ('StopDistillHook', 'DistillScheduleHook')
DISTILL_LOOPS = ('SingleTeacherDistillValLoop', 'SelfDistillValLoop')
# arguments of schedulers that are times, in the unit of the scheduler
TIMES = ('begin', 'end', 'T_max', 'milestones', 'step_size', 'total_steps', 'total_iters', 'periods')


def student_alone(config: Config) -> Config:
    """The config that trains the student of a distillation without it, on the same data with the same schedule.

    Args:
        config: Of the distillation.

    Raises:
        UserError: The config is not that of a distillation, or the weight of the student's own loss is that of a share.
    """
    config = Config(config.to_dict(), filename=config.filename)
    # the views that a teacher cache replays are the student's, too
    use_teacher_cache(config)
    architecture = config.model.get('architecture')
    if not isinstance(architecture, Mapping):
        got = f'a {config.model.get("type")}, which has none'
        raise UserError(Fault('model.architecture', 'the student of a distillation', got, 'give --baseline CONFIG'))
    scope = config.get('default_scope') or FALLBACK_SCOPE
    with DefaultScope.overwrite_default_scope(scope):
        own_scope, model, pretrained = resolve_model_config(copy.deepcopy(architecture), 'model.architecture')
    _refuse_a_share(model)
    if own_scope != scope:
        model['_scope_'] = own_scope
    if pretrained:
        model['init_cfg'] = dict(type='Pretrained', checkpoint=pretrained)
    preprocessor = config.model.get('data_preprocessor')
    if preprocessor is not None:
        translated = preprocessor_for_mmpretrain(preprocessor) if own_scope == MMPRETRAIN else None
        model['data_preprocessor'] = translated or preprocessor
    config.model = ConfigDict(model)
    if config.get('custom_hooks'):
        config.custom_hooks = [hook for hook in config.custom_hooks if not _is_one_of(hook, DISTILL_HOOKS)]
    if _is_one_of(config.get('val_cfg'), DISTILL_LOOPS):
        config.val_cfg = {key: value for key, value in config.val_cfg.items() if key != 'type'}
    custom_keys = (config.get('optim_wrapper', {}).get('paramwise_cfg') or {}).get('custom_keys')
    if custom_keys:
        renamed = {name.removeprefix(STUDENT): value for name, value in custom_keys.items()}
        config.optim_wrapper.paramwise_cfg.custom_keys = renamed
    return config


def place_in_baseline(config: Config, path: str) -> str | None:
    """Where a key of a config is in a training of its student alone; None where it is not.

    Args:
        config: Of a distillation, or of a training without a teacher, in which each key is where it is.
        path: Dotted key.
    """
    first, _, rest = path.partition('.')
    if first == 'model' and 'architecture' in config.model:
        return path.replace(STUDENT, '', 1) if rest.startswith((STUDENT, 'data_preprocessor')) else None
    index = rest.partition('.')[0]
    if first == 'custom_hooks' and index and _is_one_of(config.custom_hooks[int(index)], DISTILL_HOOKS):
        return None
    return path


def longer(config: Config, factor: float) -> Config:
    """A config that trains longer, its learning rate schedules stretched along.

    Args:
        config: Of a training by epochs or by iterations.
        factor: How much longer, 1 or above; epochs or iterations are rounded up.

    Returns:
        A config, with equal content where the factor makes no difference.

    Raises:
        UserError: ``train_cfg`` has neither ``max_epochs`` nor ``max_iters``.
    """
    config = Config(config.to_dict(), filename=config.filename)
    name = next((name for name in ('max_epochs', 'max_iters') if config.train_cfg.get(name)), None)
    if name is None:
        got = f'a training of {dict(config.train_cfg)}'
        raise UserError(Fault('train_cfg', 'max_epochs or max_iters', got, 'write one of them'))
    length = config.train_cfg[name]
    # a millionth less, or a factor of 1.1 would make 11 epochs of 10 into 12
    config.train_cfg[name] = math.ceil(length * factor - 1e-6)
    ratio = config.train_cfg[name] / length
    schedulers = config.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        for key in TIMES:
            if scheduler.get(key) is not None:
                scheduler[key] = _scaled(scheduler[key], ratio)
        if str(scheduler.get('type')).rpartition('.')[2].startswith('Exponential'):
            # the factor of one epoch or iteration, of which there are more now
            scheduler.gamma = scheduler.gamma ** (1 / ratio)
    return config


def length_of(config: Config) -> int:
    """Epochs or iterations of a training."""
    return config.train_cfg.get('max_epochs') or config.train_cfg.get('max_iters') or 0


def _refuse_a_share(model: Mapping[str, Any]) -> None:
    """A student whose loss has the weight 1 - alpha beside the teacher's would learn too slowly without it."""
    head = model.get('head')
    loss = head.get('loss') if isinstance(head, Mapping) else None
    weight = loss.get('loss_weight', 1.0) if isinstance(loss, Mapping) else 1.0
    if weight != 1.0:
        expected = "1, or --baseline with the student's own training"
        advice = 'give --baseline CONFIG, in which the student learns from the labels alone'
        raise UserError(Fault('model.architecture.head.loss.loss_weight', expected, str(weight), advice))


def _scaled(value: Any, ratio: float) -> Any:
    if isinstance(value, (list, tuple)):
        return [_scaled(entry, ratio) for entry in value]
    return round(value * ratio) if isinstance(value, int) else value * ratio


def _is_one_of(node: Any, names: tuple[str, ...]) -> bool:
    return isinstance(node, Mapping) and str(node.get('type', '')).rpartition('.')[2] in names
