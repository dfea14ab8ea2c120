"""What a run leaves for reports, gathered at its end."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_dist_info, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner, TestLoop
from torch import nn

from kd_plugins.algorithms.inplace import in_eval_mode
from kd_plugins.engine.cache_config import use_teacher_cache
from kd_plugins.engine.distill_val_loop import SingleTeacherDistillValLoop
from kd_plugins.engine.model_of import model_of
from kd_plugins.memory_format import store_contiguous, to_contiguous
from kd_plugins.report.machine import describe_machine, installed_versions
from kd_plugins.report.result import Result, numbers_of, write_result
from kd_plugins.report.run_log import TEACHER_PREFIX, read_run_log
from kd_plugins.teacher.cache.fingerprint import describe_plainly, settings_of

# what is neither the experiment nor its result
INCIDENTAL = ('work_dir', 'launcher', 'resume', 'experiment', 'randomness', 'visualizer', 'vis_backends')
FORWARDS, WARM_UPS = 20, 5
# what a sweep says of a run
LABELS = ('arm', 'options', 'sweep')
# points of a curve that are kept
POINTS = 200


def describe_config(config: Any) -> dict[str, Any]:
    """What has to be equal for two runs to be compared, and a fingerprint of all.

    Args:
        config: The whole config, before the preflight completes it.
    """
    config = Config(config.to_dict(), filename=config.filename)
    use_teacher_cache(config)
    resume = config.get('resume')
    if (resume and not isinstance(resume, str)) or not config.get('load_from'):
        # it is where the training goes on, and not where its weights begin
        config.pop('load_from', None)
    whole = describe_plainly({key: value for key, value in config.items() if key not in INCIDENTAL})
    loader = _dict(whole.get('train_dataloader'))
    data = {key: loader.get(key) for key in ('dataset', 'batch_size', 'sampler')}
    schedule = {key: whole.get(key) for key in ('train_cfg', 'optim_wrapper', 'param_scheduler')}
    hooks = whole.get('custom_hooks')
    listed = [hook for hook in hooks if isinstance(hook, dict)] if isinstance(hooks, list) else []
    schedule['averaging'] = [hook for hook in listed if str(hook.get('type')).endswith('EMAHook')]
    randomness = _dict(config.get('randomness'))
    text = json.dumps([whole, {key: value for key, value in randomness.items() if key != 'seed'}], sort_keys=True)
    return dict(
        file=_dict(config.get('experiment')).get('config') or config.filename,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        data=data,
        schedule=schedule,
    )


def _dict(value: Any) -> dict[str, Any]:
    """What should be a dict, which the preflight has not seen yet."""
    return value if isinstance(value, dict) else {}


def record_result(runner: Runner, description: dict[str, Any], seconds: float) -> Result | None:
    """Evaluate what a training made, and write ``result.json`` into its work_dir.

    Evaluated are the weights of the best checkpoint, where ``default_hooks.checkpoint.save_best`` keeps one, else the
    last; on the test data, or where there are none, on the validation data.

    Args:
        runner: After training, in every process.
        description: Of :func:`describe_config`.
        seconds: That the training took.

    Returns:
        What was written by the first process; None where there is no metric.
    """
    model: Any = model_of(runner)
    weights = _load_best(runner)
    split, metrics = _evaluate(runner)
    found = numbers_of(metrics)
    if not found or not is_main_process():
        return None
    log = read_run_log(runner.work_dir)
    config = _dict(runner.cfg.get('experiment'))
    student = getattr(model, 'architecture', model)
    teacher = getattr(model, 'teacher', None)
    batch = _one_image(runner)
    # as it was built: a config may have it in three places, and leave out what is its default
    data = {**description['data'], 'data_preprocessor': settings_of(model.data_preprocessor)}
    result = Result(
        config={**description, 'data': data},
        experiment=dict(arm='main', options={}, sweep=None) | {key: config[key] for key in LABELS if key in config},
        seed=runner.seed,
        git=_git_state(),
        versions=installed_versions(),
        machine={**describe_machine('cuda' if torch.cuda.is_available() else 'cpu'), 'processes': get_dist_info()[1]},
        training=_training(runner, seconds),
        metrics={name: value for name, value in found.items() if not name.startswith(TEACHER_PREFIX)},
        teacher_metrics={
            name.removeprefix(TEACHER_PREFIX): value for name, value in found.items() if name.startswith(TEACHER_PREFIX)
        },
        split=split,
        weights=weights,
        student=_describe_model(student, model, batch),
        teacher=_describe_teacher(teacher, model, batch) if isinstance(teacher, nn.Module) else None,
        curves=dict(
            losses={name: _thin(curve) for name, curve in log.losses.items()},
            metrics={name: _thin(curve) for name, curve in log.metrics.items()},
        ),
    )
    write_result(result, runner.work_dir)
    return result


def _load_best(runner: Runner) -> str:
    """Load the best checkpoint, if one is kept; returns its name, or ``'last'``."""
    # by several metrics, there are several
    found = [path for key, path in runner.message_hub.runtime_info.items() if key.startswith('best_ckpt')]
    kept = any(isinstance(hook, CheckpointHook) and getattr(hook, 'save_best', None) for hook in runner.hooks)
    # the first process writes it, and the others have to do what it does
    best = [found[0] if kept and found and Path(found[0]).is_file() else None]
    broadcast_object_list(best)
    if best[0] is None:
        return 'last'
    runner.load_checkpoint(best[0])
    return Path(best[0]).name


def _evaluate(runner: Runner) -> tuple[str, dict[str, Any]]:
    """The split, and the metrics of student and teachers on it; the validation data where there are no test data."""
    loaders = (_dict(runner.cfg.get(f'{part}_dataloader')) for part in ('test', 'val'))
    test, val = (describe_plainly(loader.get('dataset')) for loader in loaders)
    validation, testing = runner.val_loop, runner.test_loop
    if testing is None:
        if validation is None:
            return 'val', {}
        # of the same data and metrics, without the hooks that a validation tells
        testing, test = TestLoop(runner, validation.dataloader, validation.evaluator), val
        # which hooks ask for
        runner._test_loop = testing
    # not runner.test(), at which an EMAHook begins anew to average
    metrics: dict[str, Any] = dict(testing.run())
    if isinstance(validation, SingleTeacherDistillValLoop):
        known = validation.teacher_metrics if test == val else None
        if known is None:
            half = getattr(testing, 'fp16', False)
            loop = SingleTeacherDistillValLoop(runner, testing.dataloader, testing.evaluator, half)
            known = loop.evaluate_teachers()
        metrics.update(known)
    return 'val' if test == val else 'test', metrics


def _training(runner: Runner, seconds: float) -> dict[str, float]:
    loader: Any = runner.train_dataloader
    batch_size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 1)
    steps_of_epoch = max(1, -(-len(loader.dataset) // (batch_size * get_dist_info()[1])))
    times = runner.message_hub.log_scalars.get('train/time')
    # the median: a step after a validation has some of its time
    typical = float(np.median(times.data[0])) if times is not None else seconds / max(1, runner.iter)
    return dict(
        images=len(loader.dataset),
        epochs=round(runner.iter / steps_of_epoch, 2),
        iterations=runner.iter,
        batch_size=batch_size,
        seconds=seconds,
        seconds_per_iteration=typical,
    )


def _describe_model(model: nn.Module, algorithm: Any, batch: Any) -> dict[str, Any]:
    # brings mmpretrain's models along, which a refused run does not wait for
    from kd_plugins.models.quantized import shipped_bytes

    return dict(
        name=_name_of(model),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        bytes=shipped_bytes(model),
        latency_ms=_latency(model, algorithm.data_preprocessor, batch),
    )


def _describe_teacher(teacher: nn.Module, algorithm: Any, batch: Any) -> dict[str, Any]:
    held = getattr(algorithm, 'frozen_teacher', None)
    sharded = held is not None and held.sharded
    return _describe_sharded(teacher) if sharded else _describe_model(teacher, algorithm, batch)


def _describe_sharded(teacher: nn.Module) -> dict[str, Any]:
    """Of a teacher that no process has whole, and that one process alone cannot run."""
    tensors = teacher.state_dict().values()
    return dict(
        name=_name_of(teacher).removeprefix('FSDP'),
        parameters=sum(parameter.numel() for parameter in teacher.parameters()),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        latency_ms=None,
    )


def _name_of(model: nn.Module) -> str:
    return type(getattr(model, 'backbone', model)).__name__


def _one_image(runner: Runner) -> Any:
    loop = runner.val_loop or runner.test_loop
    dataset, collate = loop.dataloader.dataset, loop.dataloader.collate_fn
    return collate([dataset[0]])


def _latency(model: nn.Module, preprocessor: Any, batch: Any) -> float | None:
    """Median milliseconds of the forward of one image that is preprocessed already; None where it cannot be run.

    Image and weights are contiguous, as in an exported model, whatever layout they were trained in.
    """
    times: list[float] = []
    try:
        inputs = to_contiguous(preprocessor(batch, False)['inputs'])
        with _contiguous(model), torch.inference_mode(), in_eval_mode(model):
            for _ in range(WARM_UPS + FORWARDS):
                with _timed(times, inputs):
                    model(inputs, mode='tensor')
    except Exception:  # a model of another task may want more than an image; its result is worth more than this number
        return None
    return 1000 * median(times[WARM_UPS:])


@contextmanager
def _contiguous(model: nn.Module) -> Iterator[None]:
    """Lay out a model's weights so for a while; afterwards they are where they were."""
    kept = [(parameter, parameter.data) for parameter in model.parameters()]
    store_contiguous(model)
    try:
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data


@contextmanager
def _timed(times: list[float], inputs: Any) -> Iterator[None]:
    on_gpu = isinstance(inputs, torch.Tensor) and inputs.is_cuda
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    yield
    if on_gpu:
        torch.cuda.synchronize()
    times.append(time.perf_counter() - start)


def _thin(curve: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """At most :data:`POINTS` points of a curve, the last one among them."""
    step = -(-len(curve) // POINTS)
    return [point for index, point in enumerate(curve) if (len(curve) - 1 - index) % step == 0]


def _git_state() -> dict[str, Any] | None:
    """The commit of this package's source; None where it is not in a repository."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / '.git').exists():
        return None
    answers = []
    for question in (['rev-parse', 'HEAD'], ['status', '--porcelain', '--untracked-files=no']):
        try:
            done = subprocess.run(['git', '-C', str(folder), *question], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        answers.append(done.stdout.strip())
    return dict(commit=answers[0], changed=bool(answers[1]))
