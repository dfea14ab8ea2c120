"""Distillation without data: a generator imagines the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from kd_plugins.algorithms.comparison import Comparison, Forward
from kd_plugins.algorithms.distill_algorithm import DistillAlgorithm, add_prefix
from kd_plugins.algorithms.inplace import forbid_inplace
from kd_plugins.arguments import require_positive
from kd_plugins.build import build_component
from kd_plugins.distiller import DISTILLERS, ConfigurableDistiller, build_distiller
from kd_plugins.errors import Fault, Faults, UserError, join_path
from kd_plugins.recorders import AveragedLogits
from kd_plugins.registry import MODELS
from kd_plugins.teacher import FrozenTeacher, Teachers, are_trained, build_teachers

TRAINED = ('architecture', 'generator')


@MODELS.register_module()
class DataFreeDistillation(DistillAlgorithm):
    """Trains a generator of images, and a student to agree with frozen teachers on them, in turns.

    The data of the config give the batch size and the labels that heads ask for; their images are not looked at.
    ``optim_wrapper`` needs ``constructor='SeparateOptimWrapperConstructor'`` and one entry for ``architecture`` and
    one for ``generator``.

    Papers: Data-Free Adversarial Distillation, https://arxiv.org/abs/1912.11006; Zero-shot Knowledge Transfer via
    Adversarial Belief Matching, https://arxiv.org/abs/1905.09768

    Args:
        distiller: Config of the distiller that trains the student.
        generator_distiller: Config of the distiller that trains the generator. Its gradient goes through teachers and
            student, which do not change by it.
        teachers: By name, ``dict(build_cfg=…, ckpt_path=None)``, as for ``MultiTeacherDistill``. A teacher's source
            begins with its name. A ``weight`` counts for ``AveragedLogits`` alone.
        generator: Config of the generator, which has ``latent_dim`` and turns noise (N, latent_dim) into images.
        student_iter: Steps of the student in each step.
        student_train_first: Train the student before the generator.
        kwargs: Arguments of :class:`DistillAlgorithm`: architecture, data_preprocessor, init_cfg, module_inplace.

    Raises:
        UserError: With what is wrong in the config, each fault under its key path.
    """

    def __init__(
        self,
        distiller: dict[str, Any],
        generator_distiller: dict[str, Any],
        teachers: Mapping[str, Any],
        generator: dict[str, Any],
        student_iter: int = 1,
        student_train_first: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        faults = Faults(self.faults)
        faults.attempt(require_positive, 'student_iter', student_iter, '1 is the usual one')
        self.student_iter = student_iter
        self.student_train_first = student_train_first
        self.distiller: Any = faults.attempt(build_distiller, distiller, 'distiller')
        self.generator_distiller: Any = faults.attempt(build_distiller, generator_distiller, 'generator_distiller')
        preprocessor = self.data_preprocessor if self.architecture is not None else None
        built = faults.attempt(build_teachers, teachers, preprocessor)
        faults.adopt(built, '')
        if built is not None:
            forbid_inplace(built)
            self.frozen_teacher = FrozenTeacher(built, bool(built.names) and are_trained(teachers))
        self.generator: Any = faults.attempt(build_component, MODELS, generator, 'generator')
        # the generator may be wrapped for several processes later
        self.latent_dim = getattr(self.generator, 'latent_dim', None)
        if self.generator is not None and not isinstance(self.latent_dim, int):
            got = f'a {type(self.generator).__name__} without'
            faults.append(Fault('generator', 'a generator with latent_dim', got, 'DAFLGenerator has it'))
        faults += self._without_effect()
        for name in DISTILLERS:
            faults += self._attach(name)
        self.faults = faults.settle()
        self.register_state_dict_post_hook(_without_wrappers)
        self.register_load_state_dict_pre_hook(_without_wrappers)

    @property
    def teacher(self) -> Teachers | None:
        """The teachers."""
        return self.frozen_teacher.model if self.frozen_teacher is not None else None  # type: ignore[return-value]

    def comparisons(self) -> tuple[Comparison, ...]:
        """What trains the generator, and what trains the student; each forward imagines images of its own."""
        found = []
        for where, prefix, distiller in (
            ('generator_distiller', 'generator', self.generator_distiller),
            ('distiller', 'distill', self.distiller),
        ):
            if distiller is None or self.generator is None:
                continue
            forwards = []
            if self.teacher is not None:
                forwards.append(Forward(('teacher',), 'teachers', self.teacher, self._probe(where, self._run_teachers)))
            if self.architecture is not None:
                run = self._probe(where, self._run_student)
                forwards.append(Forward(('student',), 'architecture', self.architecture, run))
            found.append(Comparison(where, prefix, distiller, tuple(forwards)))
        return tuple(found)

    def loss(self, inputs: torch.Tensor, data_samples: list[Any] | None = None) -> dict[str, torch.Tensor]:
        """The losses of the generator and of the student on images that are imagined once, without a step."""
        images = self._imagine(len(inputs))
        losses = add_prefix(self._generator_losses(images, data_samples), 'generator')
        return {**losses, **add_prefix(self._student_losses(images.detach(), data_samples), 'distill')}

    def train_step(self, data: dict[str, Any], optim_wrapper: OptimWrapperDict) -> dict[str, torch.Tensor]:
        """Train generator and student, one after the other.

        Args:
            data: A batch of the data loader.
            optim_wrapper: Of ``architecture`` and of ``generator``.

        Returns:
            What is logged.

        Raises:
            UserError: ``optim_wrapper`` is one for the whole model.
        """
        self.check_optim_wrapper(optim_wrapper)
        turns = [self._train_generator, self._train_student]
        log: dict[str, torch.Tensor] = {}
        for turn in reversed(turns) if self.student_train_first else turns:
            log.update(turn(data, optim_wrapper))
        return log

    def check_optim_wrapper(self, optim_wrapper: Any) -> None:
        """Refuse an optimiser that cannot take turns.

        Raises:
            UserError: It is one for the whole model, or lacks the student's or the generator's.
        """
        names = list(optim_wrapper.keys()) if isinstance(optim_wrapper, OptimWrapperDict) else []
        if not set(TRAINED) <= set(names):
            got = ', '.join(names) if names else 'one for the whole model'
            advice = (
                "write optim_wrapper=dict(constructor='SeparateOptimWrapperConstructor', "
                'architecture=dict(optimizer=…), generator=dict(optimizer=…))'
            )
            raise UserError(Fault('optim_wrapper', 'one each for architecture and generator', got, advice))

    def _train_generator(self, data: dict[str, Any], optim_wrapper: OptimWrapperDict) -> dict[str, torch.Tensor]:
        wrapper = optim_wrapper['generator']
        with wrapper.optim_context(self.generator):
            images = self._imagine(len(data['inputs']))
            losses = self._generator_losses(images, self._samples(data))
        return self._update(wrapper, losses, 'generator')

    def _train_student(self, data: dict[str, Any], optim_wrapper: OptimWrapperDict) -> dict[str, torch.Tensor]:
        wrapper = optim_wrapper['architecture']
        log: dict[str, torch.Tensor] = {}
        for _ in range(self.student_iter):
            with torch.no_grad():
                images = self._imagine(len(data['inputs']))
            with wrapper.optim_context(self.architecture):
                losses = self._student_losses(images, self._samples(data))
            log = self._update(wrapper, losses, 'distill')
        return log

    def _update(self, wrapper: OptimWrapper, losses: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
        # under the names of the log, by which a bad loss is reported
        total, log = self.parse_losses(add_prefix(losses, prefix))
        wrapper.update_params(total)
        return {f'{prefix}.loss': log.pop('loss'), **log}

    def _samples(self, data: dict[str, Any]) -> Any:
        return self.data_preprocessor(data, True).get('data_samples')

    def _imagine(self, count: int) -> torch.Tensor:
        """Images (count, 3, H, W) of noise."""
        device = next(self.generator.parameters()).device
        return self.generator(torch.randn(count, self.latent_dim, device=device), count)  # type: ignore[arg-type]

    def _generator_losses(self, images: torch.Tensor, samples: Any) -> dict[str, torch.Tensor]:
        """The generator's losses; gradient goes through teachers and student into the images, not into weights."""
        self._run_student('generator_distiller', images, samples)
        self._run_teachers('generator_distiller', images, samples)
        return self._compare('generator_distiller')

    def _student_losses(self, images: torch.Tensor, samples: Any) -> dict[str, torch.Tensor]:
        self._run_student('distiller', images, samples)
        self._run_teachers('distiller', images, samples)
        return self._compare('distiller')

    def _run_student(self, where: str, images: torch.Tensor, samples: Any) -> None:
        distiller = getattr(self, where)
        if not distiller.student_recorders.recorders:
            return
        with ExitStack() as contexts:
            student = self.architecture
            if where == 'generator_distiller':
                # not the wrapper of several processes, which would wait for gradients of the student
                student = student.module if is_model_wrapper(student) else student
                contexts.enter_context(_without_gradient(student))
            contexts.enter_context(distiller.student_recorders)
            student(images, samples, mode='loss')

    def _run_teachers(self, where: str, images: torch.Tensor, samples: Any) -> None:
        distiller = getattr(self, where)
        with distiller.teacher_recorders, torch.set_grad_enabled(images.requires_grad):
            self.teacher(images, samples, mode='loss')  # type: ignore[misc]

    def _compare(self, where: str) -> dict[str, torch.Tensor]:
        try:
            return getattr(self, where).compute_distill_losses()
        except UserError as error:
            raise error.within(where) from error

    def _probe(self, where: str, run: Any) -> Any:
        def forward(inputs: torch.Tensor, samples: Any) -> dict[str, torch.Tensor]:
            with torch.set_grad_enabled(where == 'generator_distiller'):
                images = self._imagine(len(inputs))
            run(where, images, samples)
            return {}

        return forward

    def _without_effect(self) -> Faults:
        """Weights of teachers that no recorder takes as shares, and deliveries: these forwards make none."""
        faults = Faults()
        averaged = False
        for where in DISTILLERS:
            distiller = getattr(self, where)
            if not isinstance(distiller, ConfigurableDistiller):
                continue
            averaged |= any(isinstance(part, AveragedLogits) for part in distiller.teacher_recorders.recorders.values())
            for name, declared in distiller.spec.deliveries.items():
                expected = 'no delivery, for data-free distillation makes none'
                faults.append(Fault(join_path(where, declared.where), expected, repr(name), 'remove it'))
        for name, weight in self.teacher.weights.items() if self.teacher is not None and not averaged else ():
            if weight != 1:
                advice = "give the losses a loss_weight, or compare with the teachers' AveragedLogits"
                got = f'{weight:g}, which no loss would use'
                faults.append(Fault(f'teachers.{name}.weight', 'the weight 1', got, advice))
        return faults

    def _attach(self, where: str) -> Faults:
        faults = Faults()
        distiller = getattr(self, where)
        faults.adopt(distiller, '')
        if distiller is not None and self.architecture is not None:
            faults += faults.attempt(distiller.prepare_from_student, self.architecture) or ()
        if distiller is not None and self.teacher is not None:
            faults += faults.attempt(distiller.prepare_from_teacher, self.teacher) or ()
        return Faults(fault.within(where) for fault in faults)


@MODELS.register_module()
class DAFLDataFreeDistillation(DataFreeDistillation):
    """Data-free distillation in which generator and student learn from the same images in each step.

    Paper: Data-Free Learning of Student Networks, https://arxiv.org/abs/1904.01186

    Args:
        kwargs: Arguments of :class:`DataFreeDistillation`.
    """

    def train_step(self, data: dict[str, Any], optim_wrapper: OptimWrapperDict) -> dict[str, torch.Tensor]:
        """Compute the losses of generator and student on the same images, then train both.

        Args:
            data: A batch of the data loader.
            optim_wrapper: Of ``architecture`` and of ``generator``.

        Returns:
            What is logged.

        Raises:
            UserError: ``optim_wrapper`` is one for the whole model.
        """
        self.check_optim_wrapper(optim_wrapper)
        samples = self._samples(data)
        with optim_wrapper['generator'].optim_context(self.generator):
            images = self._imagine(len(data['inputs']))
            imagined = self._generator_losses(images, samples)
        with optim_wrapper['architecture'].optim_context(self.architecture):
            distilled = self._student_losses(images.detach(), samples)
        log = self._update(optim_wrapper['generator'], imagined, 'generator')
        return {**log, **self._update(optim_wrapper['architecture'], distilled, 'distill')}


def _without_wrappers(model: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Name weights as in one process: MMSeparateDistributedDataParallel wraps each part of the model."""
    wrapped = {f'{prefix}{part}.module.': f'{prefix}{part}.' for part in TRAINED}
    for name in list(state_dict):
        for before, after in wrapped.items():
            if name.startswith(before):
                state_dict[after + name.removeprefix(before)] = state_dict.pop(name)


@contextmanager
def _without_gradient(model: nn.Module) -> Iterator[None]:
    """The weights of the model collect no gradient; its inputs still do."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in learning:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in learning:
            weight.requires_grad_(True)
