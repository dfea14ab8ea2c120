"""What the tests of all tasks do alike: configs of the toys, a few steps of a real Runner, the wheel's distillers."""

from __future__ import annotations

import ast
import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from kd_plugins.preflight import check_training

VAL_LOOP = dict(type='kd_plugins.SingleTeacherDistillValLoop')


def task_config(module: Any, work_dir: Any, model: dict[str, Any], dataset: dict[str, Any], metric: str) -> Config:
    """A training config in the scope of a toy library: two steps of two samples, and a validation.

    Args:
        module: The toy library.
        work_dir: Where the run leaves its files.
        model: The algorithm.
        dataset: The data set.
        metric: Name of the metric.
    """
    loader = dict(dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False), batch_size=2, num_workers=0)
    return Config(
        dict(
            custom_imports=dict(imports=[module.__name__]),
            default_scope=module.SCOPE,
            model=model,
            work_dir=str(work_dir),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            val_dataloader=copy.deepcopy(loader),
            val_cfg=dict(VAL_LOOP),
            val_evaluator=dict(type=metric),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
            randomness=dict(seed=0),
            log_level='WARNING',
        )
    )


def train(config: Config) -> Runner:
    """Check a config and train as it says; returns the runner."""
    findings = check_training(config)
    assert not [warning for warning in findings.warnings if 'random weights' not in warning.got]
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def logged(runner: Runner) -> dict[str, float]:
    """The last value of everything that a run has logged, by its name without ``train/`` and ``val/``."""
    return {name.partition('/')[2]: value.current() for name, value in runner.message_hub.log_scalars.items()}


def scalars(work_dir: Path) -> list[dict[str, float]]:
    """The lines of the log of a run of ``tools/train.py``."""
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(config: Config, path: Path) -> Path:
    """Write a config file."""
    path.write_text(config.pretty_text)
    return path


def published_root() -> Path:
    """The folder of the distillation configs of the installed mmrazor; where there is none, the test is left out."""
    package = importlib.util.find_spec('mmrazor')
    if package is None or package.origin is None:
        pytest.skip('mmrazor is not installed')
    return Path(package.origin).parent / '.mim/configs/distill'


def published_model(name: str) -> dict[str, Any]:
    """What a config of the installed mmrazor says of ``model``, by itself and the files that it builds upon.

    Libraries whose configs it builds upon (``mmdet::…``) are left out, which are not installed.

    Args:
        name: Path of the file below the published configs.
    """
    root = published_root()
    path = root / name
    model: dict[str, Any] = {}
    for statement in ast.parse(path.read_text()).body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            continue
        if statement.targets[0].id == '_base_':
            for base in ast.literal_eval(statement.value):
                if '::' not in base:
                    model = _merge(published_model(str((path.parent / base).relative_to(root))), model)
        if statement.targets[0].id == 'model':
            model = _merge(model, _value(statement.value))
    return model


def _value(node: ast.expr) -> Any:
    """The value of ``dict(key=…)`` of literals; names, which are of other parts of the file, become their own text."""
    if isinstance(node, ast.Call):
        return {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    config = Config(below)
    config.merge_from_dict(above)
    return config.to_dict()
