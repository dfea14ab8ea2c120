"""From a distiller's config, in the long form, the short form or both, to its spec."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from kd_plugins.build import Declared, find_component, parameters_of
from kd_plugins.distiller.long_form import read_mapping
from kd_plugins.distiller.loss_arguments import LossArguments
from kd_plugins.distiller.short_form import KEYS, ShortForm, is_short, meant
from kd_plugins.distiller.spec import DistillerSpec, LossSpec
from kd_plugins.errors import Fault, Faults, closest
from kd_plugins.registry import MODELS


def read_config(
    student_recorders: Any = None,
    teacher_recorders: Any = None,
    connectors: Any = None,
    distill_losses: Any = None,
    loss_forward_mappings: Any = None,
    distill_deliveries: Any = None,
) -> tuple[DistillerSpec, Faults]:
    """Read what a distiller is made of; nothing is built.

    Args:
        student_recorders: Recorder config by name.
        teacher_recorders: Recorder config by name.
        connectors: By name, a connector config, a list of them, or ``'auto'``.
        distill_losses: Loss config by name, with ``student``, ``teacher`` and ``connector`` in the short form.
        loss_forward_mappings: By loss in the long form, by argument, the fields of :class:`RecordSpec`.
        distill_deliveries: Delivery config by name.

    Returns:
        The spec of all that has no fault, and the faults, each under its key path.
    """
    faults = Faults()

    def by_name(configs: Any, key: str) -> dict[str, Declared]:
        if isinstance(configs, Mapping):
            return {str(name): Declared(config, f'{key}.{name}') for name, config in configs.items()}
        if configs is not None:
            got, advice = f'a {type(configs).__name__}', 'write dict(…); look for a comma after it'
            faults.append(Fault(key, 'a dict by name', got, advice))
        return {}

    recorders = {True: by_name(student_recorders, 'student_recorders')}
    recorders[False] = by_name(teacher_recorders, 'teacher_recorders')
    deliveries = by_name(distill_deliveries, 'distill_deliveries')
    parts = by_name(connectors, 'connectors')
    for name in [name for name in parts if not _can_be_a_module(name)]:
        faults.append(_unfit(parts.pop(name).where, name))
    # in the order of their names, as mmengine dumps them: a dumped config draws the same random weights
    losses = dict(sorted(by_name(distill_losses, 'distill_losses').items()))
    for name in [name for name in losses if not _can_be_a_module(name)]:
        faults.append(_unfit(losses.pop(name).where, name))
    feeds = {name: feed.config for name, feed in by_name(loss_forward_mappings, 'loss_forward_mappings').items()}
    declared = {'connectors': set(parts), 'student_recorders': set(recorders[True])}
    declared['teacher_recorders'] = set(recorders[False])

    mappings = []
    broken: list[str] = []
    sound = len(faults)
    short = ShortForm(recorders, parts, faults)
    for name, loss in list(losses.items()):
        kind = faults.attempt(find_component, MODELS, loss.config, loss.where)
        if kind is None:
            broken.append(name)
            continue
        arguments = [parameter.name for parameter in parameters_of(kind)[0]]
        loss = losses[name] = replace(loss, config=meant(loss.config, KEYS, arguments, loss.where, faults))
        if is_short(loss.config) and name in feeds:
            advice = f'remove {", ".join(key for key in KEYS if key in loss.config)}, or the mapping'
            faults.append(Fault(f'loss_forward_mappings.{name}', 'one form for a loss', 'both', advice))
        elif is_short(loss.config):
            mappings.append(short.read(name, loss.config, LossArguments(kind)))
        elif name in feeds:
            mappings.append(read_mapping(name, feeds[name], LossArguments(kind), parts, recorders, faults))
    faults += [
        Fault(
            f'loss_forward_mappings.{name}', 'the name of a loss in distill_losses', repr(name), closest(name, losses)
        )
        for name in feeds
        if losses and name not in losses
    ]
    whole = len(faults) == sound
    faults += _loss_faults(losses, feeds, broken)
    if whole and losses:
        faults += _unused_faults(mappings, declared)
    own = {
        name: Declared(_without_sources(loss.config), loss.where) for name, loss in losses.items() if name not in broken
    }
    ordered = dict(sorted(parts.items()))
    return DistillerSpec(recorders[True], recorders[False], deliveries, ordered, own, tuple(mappings)), faults


def _without_sources(config: Any) -> Any:
    if not is_short(config):
        return config
    return {key: value for key, value in config.items() if key not in KEYS}


def _loss_faults(losses: Mapping[str, Declared], feeds: Collection[str], broken: Collection[str]) -> list[Fault]:
    """What would keep a loss from being trained."""
    faults = []
    if not losses:
        faults.append(Fault('distill_losses', 'at least one loss', 'none', 'without one, nothing is distilled'))
    for name, loss in losses.items():
        if name not in feeds and name not in broken and not is_short(loss.config):
            expected = 'a loss with its sources, or one that loss_forward_mappings feeds'
            advice = f"add student='MODULE' and teacher='MODULE', or loss_forward_mappings.{name}, or remove the loss"
            faults.append(Fault(loss.where, expected, 'neither', advice))
        if 'loss' not in name:
            advice = f'mmengine sums only such entries: call it loss_{name}'
            faults.append(Fault(loss.where, "a name that contains 'loss'", repr(name), advice))
    return faults


def _can_be_a_module(name: str) -> bool:
    return bool(name) and '.' not in name and not hasattr(nn.ModuleDict, name)


def _unfit(where: str, name: str) -> Fault:
    return Fault(where, 'a name that can be one of a module', repr(name), 'use letters, digits and underscores')


def _unused_faults(mappings: Collection[LossSpec], declared: Mapping[str, Collection[str]]) -> list[Fault]:
    """What was declared by name and no loss uses: a typing error, and a connector stops DistributedDataParallel."""
    records = [record for mapping in mappings for record in mapping.arguments.values()]
    used: dict[str, set[str | None]] = {
        'student_recorders': {record.recorder for record in records if record.from_student},
        'teacher_recorders': {record.recorder for record in records if not record.from_student},
        'connectors': {record.connector for record in records},
    }
    return [
        Fault(f'{key}.{name}', f'a {key.split("_")[-1][:-1]} that a loss uses', 'none that does', 'remove or use it')
        for key, names in declared.items()
        for name in sorted(names)
        if name not in used[key]
    ]
