"""Everything that can be known to be wrong before the run begins."""

from __future__ import annotations

import copy
import time
from functools import partial
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope

from kd_plugins.build import FALLBACK_SCOPE, build_component, initialise
from kd_plugins.checkpoint import LoadedTensors, watching_loads
from kd_plugins.distiller import DISTILLERS, build_distiller
from kd_plugins.errors import Fault, UserError, drafting, is_drafting
from kd_plugins.preflight.bad_files import bad_files_faults
from kd_plugins.preflight.checkpoints import check_checkpoint, resume_faults
from kd_plugins.preflight.compilation import compiler_faults, recorder_faults
from kd_plugins.preflight.data import data_faults
from kd_plugins.preflight.dry_run import dry_run, run_located
from kd_plugins.preflight.edit import apply_edits
from kd_plugins.preflight.evaluation import check_evaluation
from kd_plugins.preflight.findings import Findings
from kd_plugins.preflight.isolation import isolated
from kd_plugins.preflight.mmrazor_algorithm import algorithm_faults, algorithm_warnings
from kd_plugins.preflight.models import idle_parameters, model_warnings, untrained_warnings
from kd_plugins.preflight.modules import ModuleRow, list_modules
from kd_plugins.preflight.monitors import monitor_faults
from kd_plugins.preflight.parts import part_faults
from kd_plugins.preflight.precision import precision_faults, precision_warnings
from kd_plugins.preflight.probe import probe_batches, why_no_samples
from kd_plugins.preflight.reached import Reached, following_teachers
from kd_plugins.preflight.runner import runner_faults, runner_warnings
from kd_plugins.preflight.schedule import schedule_faults
from kd_plugins.preflight.seeds import seed_faults
from kd_plugins.preflight.sharding import process_faults, shard_faults
from kd_plugins.preflight.summary import summarise_models
from kd_plugins.preflight.types import type_faults
from kd_plugins.preflight.unused_keys import unused_key_warnings
from kd_plugins.preflight.weights import set_aside_absent_weights


def check_training(config: Any) -> Findings:
    """Refuse a training config that cannot run, and complete one that leaves things out.

    Connectors, and channels of connectors, that the config leaves out are written into it.

    Args:
        config: The whole config; its distiller is made explicit.

    Returns:
        What was found, without faults.

    Raises:
        UserError: With everything that is wrong.
    """
    findings = inspect_training(config)
    if findings.faults:
        raise UserError(*findings.faults)
    return findings


def inspect_training(config: Any, ready: bool = True) -> Findings:
    """Find everything that is wrong with a training config, and complete what it leaves out.

    Looks up the types, looks for the data, builds the model, sends a small batch through it, builds the optimiser and
    the schedules, and holds a checkpoint to resume from against the model. The random state of the process stays as it
    was, and nothing that was built stays.

    Args:
        config: The whole config; its distiller is made explicit.
        ready: Whether data, weights and the device must be there, for a training that begins now. Otherwise the lack of
            them is a warning.

    Returns:
        What was found.
    """
    findings = Findings()
    start = time.perf_counter()
    scope = config.get('default_scope') or FALLBACK_SCOPE
    findings.faults += runner_faults(config) + part_faults(config, 'train') + part_faults(config, 'val')
    findings.warnings += runner_warnings(config) + precision_warnings(config)
    findings.faults += type_faults(config, scope)
    findings.faults += bad_files_faults(config)
    absent = data_faults(config) + process_faults(config) + precision_faults(config) + compiler_faults(config)
    (findings.faults if ready else findings.warnings).extend(absent)
    with isolated(config), DefaultScope.overwrite_default_scope(scope), watching_loads() as loaded:
        drafted = _draft(config, findings, ready)
        if drafted is not None:
            _inspect(config, drafted, findings, loaded, ready)
    findings.faults = list(dict.fromkeys(findings.faults))
    findings.seconds = time.perf_counter() - start
    return findings


def inspect_modules(config: Any, role: str) -> list[ModuleRow]:
    """List the modules of the student or the teacher, with what each of them returns.

    Args:
        config: The whole config.
        role: ``'student'`` or ``'teacher'``; ``'model'`` for the whole model of a config without distillation.

    Raises:
        UserError: The model cannot be built or run, or the config has no such model.
    """
    findings = Findings()
    where = {'student': 'model.architecture', 'teacher': 'model.teacher'}.get(role, 'model')
    with isolated(config), DefaultScope.overwrite_default_scope(config.get('default_scope') or FALLBACK_SCOPE):
        algorithm = _draft(config, findings, ready=False)
        model = algorithm if role == 'model' else getattr(algorithm, role, None)
        if model is not None:
            algorithm.train()
            for batch in probe_batches(config):
                forward = partial(_forward, algorithm, model, batch.data)
                rows = run_located(model, where, partial(list_modules, forward, model), findings)
                if rows is not None:
                    return rows
    expected = f'a config whose {role} can be built, and whose data can be made up or found'
    fault = Fault('model', expected, 'none', 'correct what tools/check_config.py names')
    raise UserError(*(findings.faults or findings.stumbles or [fault]))


def _forward(algorithm: BaseModel, model: Any, batch: Any) -> Any:
    # several teachers together are no model of mmengine's, and take a batch like one
    run = model._run_forward if isinstance(model, BaseModel) else partial(BaseModel._run_forward, model)
    return run(algorithm.data_preprocessor(batch, True), mode='loss')


def check_testing(config: Any) -> None:
    """Refuse a testing config that cannot run, or a checkpoint in ``config.load_from`` that is not of its model.

    Args:
        config: The whole config.

    Raises:
        UserError: With what is wrong.
    """
    scope = config.get('default_scope') or FALLBACK_SCOPE
    faults = runner_faults(config) + part_faults(config, 'test')
    faults += type_faults(config, scope) + data_faults(config, ('test_dataloader',))
    if faults:
        raise UserError(*faults)
    with isolated(config), DefaultScope.overwrite_default_scope(scope):
        check_checkpoint(build_from_config(config), config.load_from, 'CHECKPOINT')


def build_from_config(config: Any) -> BaseModel:
    """Build ``config.model`` with every complaint under its key path.

    Args:
        config: The whole config; connectors that it leaves out are worked out first and written into it.

    Raises:
        UserError: With what is wrong in it.
    """
    if not is_drafting() and any(map(_leaves_out, map(config.model.get, DISTILLERS))):
        _work_out(config)
    faults = algorithm_faults(config.model)
    if faults:
        raise UserError(*faults)
    # models complete the configs that they are given
    model = copy.deepcopy(config.model)
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', copy.deepcopy(config.data_preprocessor))
    return build_component(MMENGINE_MODELS, model, 'model')


def _draft(config: Any, findings: Findings, ready: bool) -> Any:
    """Build the model as far as it goes; None where it is not even that."""
    if not ready:
        config = copy.deepcopy(config)
        absent = set_aside_absent_weights(config.model)
        findings.warnings += absent
        findings.absent += [fault.where for fault in absent]
    try:
        with drafting():
            model = build_from_config(config)
    except UserError as error:
        findings.faults += error.faults
        return None
    findings.faults += [fault.within('model') for fault in getattr(model, 'faults', ())]
    return model


def _inspect(config: Any, model: BaseModel, findings: Findings, loaded: LoadedTensors, ready: bool) -> None:
    findings.faults += recorder_faults(config, model) + shard_faults(config, model) + seed_faults(config, model)
    reached = _run(config, model, findings, ready)
    idle = idle_parameters(config, findings.without_gradient)
    # it stops at the second step
    wrapper = (config.get('model_wrapper_cfg') or {}).get('type', 'MMDistributedDataParallel')
    stops = config.get('launcher', 'none') != 'none' and wrapper == 'MMDistributedDataParallel'
    (findings.faults if stops else findings.warnings).extend(idle)
    good = not findings.faults
    # of a model that lacks parts, what else cannot be initialised says nothing
    _initialise(config, model, findings if good else Findings())
    if good:
        # the optimiser of another machine cannot be built on this one
        findings.faults += schedule_faults(config, model) if not precision_faults(config) else []
        findings.faults += resume_faults(config, model)
    if not findings.faults:
        names = check_evaluation(config, model, findings, ready)
        findings.faults += monitor_faults(config, names) if names is not None else []
    findings.models = summarise_models(config, model, findings.absent, loaded)
    findings.warnings += untrained_warnings(config, model, findings.models, loaded, findings.absent, reached)
    findings.warnings += model_warnings(config, model) + algorithm_warnings(model) + unused_key_warnings(config, model)


def _run(config: Any, model: BaseModel, findings: Findings, ready: bool = True) -> list[Reached]:
    """Send a small batch through the model, and write the connectors that were left out into the config.

    Returns:
        The records of the teachers.
    """
    found, batch, edits = Findings(), None, dict[str, dict[str, Any]]()
    reached: list[Reached] = []
    for batch in probe_batches(config):
        found = Findings()
        with following_teachers(model) as records:
            edits = dry_run(model, batch.data, found)
            reached = records()
        if not found.stumbles:
            break
    findings.add_run(found)
    if batch is not None and not batch.made_up:
        findings.faults += found.stumbles
    elif batch is None or found.stumbles:
        got = 'none: the data are not there, or the pipeline needs more than an image and a label'
        if found.stumbles:
            got = (
                f'made-up colour images alone, over which {found.stumbles[0].where} stumbled ({found.stumbles[0].got})'
            )
        expected, advice = (
            'two samples to send through the model',
            'what only they can show will show at the first step',
        )
        findings.warnings.append(Fault('train_dataloader.dataset', expected, got, advice))
        reason = why_no_samples(config)
        for name in DISTILLERS:
            left_out = _left_out_faults(getattr(model, name, None), f'model.{name}', reason)
            (findings.faults if ready else findings.warnings).extend(left_out)
    if not findings.faults:
        for where, found_edits in edits.items():
            apply_edits(config.model[where.removeprefix('model.')], found_edits)
    return reached


def _leaves_out(distiller: Any) -> bool:
    """Whether a distiller's config leaves connectors to the preflight."""
    if not isinstance(distiller, dict):
        return False
    try:
        with drafting():
            return bool(getattr(build_distiller(copy.deepcopy(distiller), ''), 'left_out', ()))
    except UserError:
        return False  # the build says what is wrong


def _work_out(config: Any) -> None:
    findings = Findings()
    with isolated(config), DefaultScope.overwrite_default_scope(config.get('default_scope') or FALLBACK_SCOPE):
        model = _draft(config, findings, ready=False)
        if model is not None:
            _run(config, model, findings)
    if findings.faults:
        raise UserError(*findings.faults)


def _left_out_faults(distiller: Any, where: str, reason: str) -> list[Fault]:
    """Connectors cannot be worked out without a batch, for which there may be a reason."""
    why = f', and no samples of train_dataloader.dataset ({reason})' if reason else ''
    return [
        Fault(
            f'{where}.{distiller.spec.connectors[name].where}',
            'a connector with its channels, where no batch can be had to work them out',
            f'{distiller.spec.connectors[name].config!r}{why}',
            'write the connector out, or put the data in place',
        )
        for name in getattr(distiller, 'left_out', ())
    ]


def _initialise(config: Any, model: BaseModel, findings: Findings) -> None:
    try:
        initialise(model, config.model, 'model')
    except UserError as error:
        findings.faults += error.faults
