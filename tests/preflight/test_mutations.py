"""Whatever is done to a good config: it trains a step, or it is refused with a message that says what is wrong."""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from kd_plugins.engine.config import load_config, qualify_types
from kd_plugins.engine.launch import prepare_training
from kd_plugins.errors import Fault, UserError

CONFIGS = Path(__file__).parents[2] / 'configs'
EXAMPLES = 350
# what a value becomes that is retyped
OTHER_VALUES = (None, True, -1, 0, 3, 0.5, '', 'auto', 'head.fc', 'L2Loss', [], [1, 2], {}, {'type': 'L2Loss'})
# folders and processes are not what is tested here
SPARED = ('work_dir', 'launcher', 'log_level', 'env_cfg', 'default_scope', 'num_workers')


def good_configs() -> dict[str, dict[str, Any]]:
    """Configs that train: the long form, the short form with a connector written out, and one with 'auto'."""
    long = load_config(CONFIGS / 'quickstart' / 'kd_vgg_cnn_digits.py').to_dict()
    fc = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
    long['model']['distiller'] = dict(
        type='ConfigurableDistiller',
        student_recorders=copy.deepcopy(fc),
        teacher_recorders=fc,
        distill_losses=dict(loss_kl=dict(type='KLDivergence', tau=4)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(recorder='fc', from_student=True), preds_T=dict(recorder='fc', from_student=False)
            )
        ),
    )
    long['model'].pop('teacher_ckpt')
    long.pop('teacher_ckpt', None)
    long['train_dataloader'].update(batch_size=4)
    long['train_dataloader']['dataset']['num_images'] = 20
    hint = dict(type='L2Loss', loss_weight=2, student='backbone.stages.1', teacher='backbone.stages.1')
    short = copy.deepcopy(long)
    connector = dict(type='ConvModuleConnector', in_channel=64, out_channel=128, norm_cfg=dict(type='BN'))
    logits = dict(type='KLDivergence', tau=4, student='head.fc', teacher=dict(source='head.fc', record_idx=0))
    short['model']['distiller'] = dict(
        type='ConfigurableDistiller', distill_losses=dict(loss_hint={**hint, 'connector': connector}, loss_kl=logits)
    )
    auto = copy.deepcopy(short)
    auto['model']['distiller']['distill_losses']['loss_hint']['connector'] = 'auto'
    mixed = copy.deepcopy(long)
    mixed['model']['distiller']['connectors'] = dict(widen=dict(type='ConvModuleConnector', act_cfg=None))
    mixed['model']['distiller']['distill_losses']['loss_hint'] = {**hint, 'connector': 'widen'}
    return {'long': long, 'short': short, 'auto': auto, 'mixed': mixed}


GOOD = good_configs()


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key path of a config, those of containers too."""
    if isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, (list, tuple)):
        children = list(enumerate(node))
    else:
        children = []
    found = []
    for key, child in children:
        found += [(*path, key), *places(child, (*path, key))]
    return found


def below(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, list[str], dict[str, Any]]:
    """A good config after one or two mutations, with a description of each."""
    name = draw(st.sampled_from(sorted(GOOD)))
    config = copy.deepcopy(GOOD[name])
    done = []
    for _ in range(draw(st.integers(1, 2))):
        inside = draw(st.sampled_from(['model', 'model', 'model', '']))
        paths = [
            path
            for path in places(config)
            if not {path[0], path[-1]} & set(SPARED) and (not inside or path[0] == inside) and len(path) > 1
            and isinstance(below(config, path[:-1]), dict)
        ]  # fmt: skip
        if not paths:
            continue
        path = draw(st.sampled_from(paths))
        parent, key = below(config, path[:-1]), path[-1]
        kind = draw(st.sampled_from(['drop', 'rename', 'retype', 'swap']))
        if kind == 'drop':
            del parent[key]
        elif kind == 'rename':
            at = draw(st.integers(0, max(len(str(key)) - 1, 0)))
            parent[f'{str(key)[:at]}{str(key)[at + 1 :]}'] = parent.pop(key)
        elif kind == 'retype':
            parent[key] = draw(st.sampled_from(OTHER_VALUES))
            kind += f' to {parent[key]!r}'
        else:
            other = draw(st.sampled_from(paths))
            if other[: len(path)] == path or path[: len(other)] == other:
                continue
            there = below(config, other[:-1])
            parent[key], there[other[-1]] = there[other[-1]], parent[key]
            kind += f' with {".".join(map(str, other))}'
        done.append(f'{kind} {".".join(map(str, path))}')
    return name, done, config


def train_a_step(config: dict[str, Any], work_dir: Path) -> dict[str, Any]:
    """Everything that tools/train.py does with a config, up to the end of its first step; returns its losses."""
    config = Config({**config, 'work_dir': str(work_dir), 'launcher': 'none'})
    config.default_scope = 'mmpretrain'
    qualify_types(config)
    runner = prepare_training(config)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    batch = next(iter(runner.train_dataloader))
    runner.model.train()
    return runner.model.train_step(batch, runner.optim_wrapper)


def forget() -> None:
    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            handler.close()
            logger.removeHandler(handler)
    # they go by the second in which a run began
    for kind in (MMLogger, DefaultScope, MessageHub, Visualizer, *Visualizer.__subclasses__()):
        kind._instance_dict.clear()
    gc.collect()


@pytest.mark.parametrize('name', sorted(GOOD))
def test_the_configs_are_good(name, tmp_path):
    losses = train_a_step(copy.deepcopy(GOOD[name]), tmp_path / 'run')
    assert 'distill.loss_kl' in losses
    assert losses['loss'].isfinite()


@pytest.mark.slow
# the same examples each time: a change is judged by what it changes
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(case=mutated())
def test_a_mutated_config_trains_or_is_refused(case, tmp_path_factory):
    _, _, config = case
    work_dir = tmp_path_factory.mktemp('mutated') / 'run'
    faults: tuple[Fault, ...] | None = None
    try:
        train_a_step(config, work_dir)
    except UserError as error:
        faults = error.faults
    finally:
        forget()
    if faults is not None:
        assert faults
        assert all(all((fault.where.strip('.'), fault.expected, fault.got, fault.advice)) for fault in faults)
        assert not work_dir.exists()
