"""Hook that distils in stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from kd_plugins.algorithms import OneStepDistill
from kd_plugins.algorithms.one_step_distill import STUDENT
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.engine.distill_stage import DistillStage, Ramp, read_stages
from kd_plugins.engine.model_of import model_of
from kd_plugins.engine.still_parts import StillParts
from kd_plugins.engine.stop_distill_hook import StopDistillHook
from kd_plugins.errors import Fault, Faults, UserError, closest, join_path
from kd_plugins.registry import HOOKS


@HOOKS.register_module()
class DistillScheduleHook(Hook):
    """Distils in stages, each with its own weights of the losses and its own trained part of the model.

    A stage is a dict, each key of which may be left out:

    * ``end``: the first epoch or iteration after it, counted from 0 over the whole training. A stage begins where the
      one before ends. The last has no ``end``; each other needs one.
    * ``losses``: factors by name of the distill loss, and under ``student`` of the student's own losses. They multiply
      the config's ``loss_weight``; 1 where there is none. A factor is a number from 0 on, or a ramp from the begin of
      the stage on, ``dict(start_factor=0, end_factor=1, over=5, curve='linear')``, which stays at ``end_factor`` after
      ``over`` epochs or iterations; ``curve`` may be ``'cosine'``. By epoch, a factor is the same all through an epoch.
    * ``trained``: paths of the modules that learn, as in the model's ``state_dict``: ``architecture.backbone.layer1``,
      ``distiller.connectors``. The rest stays as it is, to the bit, BatchNorm statistics included. Without it, the
      whole model is trained.

    A distill loss of factor 0 is not computed, and the teacher is not run while all are 0. A parameter that no loss
    reaches, but is trained, is still moved by weight decay: give ``trained`` where that matters.

    Everything follows from the number of the epoch or iteration, so that a resumed training goes on in its stage.

    Args:
        stages: The stages in their order.
        by_epoch: Count in epochs; if not, in iterations.

    Raises:
        UserError: ``stages`` cannot be read, or ``by_epoch`` is not a bool.

    Example:
        A hint stage of ten epochs, then knowledge distillation that begins gently::

            custom_hooks = [
                dict(
                    type='kd_plugins.DistillScheduleHook',
                    stages=[
                        dict(
                            end=10,
                            losses=dict(loss_kl=0, student=0),
                            trained=['architecture.backbone.layer1', 'distiller.connectors'],
                        ),
                        dict(losses=dict(loss_hint=0, loss_kl=dict(start_factor=0, end_factor=1, over=5))),
                    ],
                )
            ]
    """

    def __init__(self, stages: list[dict[str, Any]], by_epoch: bool = True) -> None:
        if not isinstance(by_epoch, bool):
            raise UserError(Fault('by_epoch', 'True or False', repr(by_epoch), 'True counts in epochs'))
        self.by_epoch = by_epoch
        self.stages = read_stages(stages)
        self._still: StillParts | None = None
        self._current: DistillStage | None = None

    def refuse_misfit(self, runner: Any) -> None:
        """Refuse a training that the stages do not fit.

        Raises:
            UserError: The model is no distillation, another hook schedules it too, the training does not count epochs
                or ends before the last stage, or a stage names what is not there.
        """
        where = _where(runner, self)
        algorithm, faults = model_of(runner), Faults()
        distils = isinstance(algorithm, OneStepDistill) and isinstance(algorithm.distiller, ConfigurableDistiller)
        if not distils:
            expected = 'a distillation with a ConfigurableDistiller'
            advice = 'remove the hook, or train SingleTeacherDistill or MultiTeacherDistill'
            raise UserError(Fault(where, expected, f'a {type(algorithm).__name__}', advice))
        if self.by_epoch and not isinstance(runner.train_loop, EpochBasedTrainLoop):
            got = f'by_epoch=True in a {type(runner.train_loop).__name__}'
            advice = 'set by_epoch=False and count iterations, or set train_cfg=dict(by_epoch=True, …)'
            raise UserError(Fault(join_path(where, 'by_epoch'), 'a training that counts epochs', got, advice))
        others = [hook for hook in runner.hooks if isinstance(hook, (DistillScheduleHook, StopDistillHook))]
        if len(others) > 1:
            got = ' and '.join(type(hook).__name__ for hook in others)
            advice = 'put it all into the stages of one: a stage may have factor 0 for every distill loss'
            faults.append(Fault(where, 'one hook that schedules the distillation', got, advice))
        length, unit = (runner.max_epochs, 'max_epochs') if self.by_epoch else (runner.max_iters, 'max_iters')
        names = _loss_names(algorithm)
        learning = [path for path, module in algorithm.named_modules() if path and _learns(module)]
        for index, stage in enumerate(self.stages):
            place = join_path(where, f'stages.{index}')
            if stage.end is not None and stage.end >= length:
                advice = 'end it earlier, or train longer: what follows would never begin'
                faults.append(Fault(f'{place}.end', f'less than {unit}, {length}', str(stage.end), advice))
            for name in stage.losses:
                if name not in names:
                    expected, advice = 'the name of a distill loss, or student', closest(name, names)
                    if name == STUDENT:
                        expected, advice = 'a loss that is computed', 'set model.calculate_student_loss=True'
                    faults.append(Fault(f'{place}.losses.{name}', expected, repr(name), advice))
            if stage.is_silent(names):
                advice = 'give one a factor above 0'
                faults.append(Fault(f'{place}.losses', 'a loss to learn from', 'factor 0 for all losses', advice))
            for number, path in enumerate(stage.trained or ()):
                if path not in learning:
                    expected = f'a module of {type(algorithm).__name__} with weights that learn'
                    faults.append(Fault(f'{place}.trained.{number}', expected, repr(path), closest(path, learning)))
        if faults:
            raise UserError(*faults)

    def before_train(self, runner: Any) -> None:
        """Get ready for the first stage.

        Raises:
            UserError: As of :meth:`refuse_misfit`, for tools that do not ask before.
        """
        self.refuse_misfit(runner)
        self._current = None
        self._still = StillParts(model_of(runner), runner.optim_wrapper.optimizer)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Bring the model to what this epoch or iteration asks for."""
        assert self._still is not None  # before_train was called
        algorithm = model_of(runner)
        now = runner.epoch if self.by_epoch else runner.iter
        stage = next(stage for stage in self.stages if stage.end is None or now < stage.end)
        if stage is not self._current:
            runner.logger.info(self._describe(stage))
            if stage.trained is None:
                self._still.let_go()
            else:
                self._still.hold_all_but(stage.trained)
            self._current = stage
            runner.model.train()
        self._still.keep_statistics()
        algorithm.set_loss_factors({name: stage.factor(name, now) for name in _loss_names(algorithm)})

    def after_train(self, runner: Any) -> None:
        """Leave model and optimiser as they were without the hook."""
        if self._still is not None:
            self._still.close()
            self._still = None
        model_of(runner).set_loss_factors({})

    def _describe(self, stage: DistillStage) -> str:
        unit = 'epoch' if self.by_epoch else 'iteration'
        factors = [f'{name} {_text(factor)}' for name, factor in stage.losses.items()]
        return (
            f'Stage {self.stages.index(stage) + 1} of {len(self.stages)} of the distillation, from {unit} '
            f'{stage.begin + 1} on: factors {", ".join(factors) or "1 for all losses"}; '
            f'trained: {", ".join(stage.trained) if stage.trained else "the whole model"}.'
        )


def _text(factor: float | Ramp) -> str:
    return str(factor) if isinstance(factor, Ramp) else f'{factor:g}'


def _loss_names(algorithm: OneStepDistill) -> list[str]:
    """The losses that a stage may name."""
    own = [STUDENT] if algorithm.calculate_student_loss else []
    return [*(mapping.name for mapping in algorithm.distiller.spec.mappings), *own]


def _learns(module: Any) -> bool:
    return any(weight.requires_grad for weight in module.parameters())


def _where(runner: Any, hook: Hook) -> str:
    """Key path of a hook's config."""
    kind = type(hook).__name__
    for index, config in enumerate(runner.cfg.get('custom_hooks') or ()):
        named = config.get('type') if isinstance(config, Mapping) else None
        if getattr(named, '__name__', str(named)).rpartition('.')[2] == kind:
            return f'custom_hooks.{index}'
    return f'custom_hooks: {kind}'
