"""What all algorithms share: a student that is trained, evaluated and saved, and perhaps a frozen teacher."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import nn

from kd_plugins.algorithms.comparison import Comparison
from kd_plugins.build import build_model
from kd_plugins.errors import Faults
from kd_plugins.teacher import FrozenTeacher, Teachers

# under these, MMRazor's checkpoints hold the teachers
TEACHER_PREFIXES = ('teacher.', 'teachers.')


class DistillAlgorithm(BaseModel):
    """An mmengine model around a student; ``loss`` is what a subclass adds.

    Prediction and plain forward are the student's, so that every evaluator and tool of the student's library works on
    the algorithm.

    Args:
        architecture: The student: the config of a model, ``dict(cfg_path='mmpretrain::…')``, or a model, which keeps
            its weights.
        data_preprocessor: Preprocessing of both models; the student's own by default. A dict without ``type``, as
            OpenMMLab's data configs have it, is completed by the student's library.
        init_cfg: Initialisation of mmengine.
        module_inplace: Leave activations of the student that work in place as they are. By default they are made to
            keep their input, so that a record of it stays true.

    Attributes:
        frozen_teacher: What is imitated and does not learn; None where there is no such model. It is outside the
            module tree, but moves and is cast with the algorithm. A checkpoint of MMRazor holds it: its weights are
            taken from there if it has no trained ones of its own, and left out otherwise.
        faults: What is wrong with the config, empty unless built inside :func:`kd_plugins.errors.drafting`; what could
            not be built is None then.

    Raises:
        UserError: ``architecture`` is not a student.
    """

    def __init__(
        self,
        architecture: Any,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | None = None,
        module_inplace: bool = False,
    ) -> None:
        faults = Faults()
        built = faults.attempt(build_model, architecture, 'architecture', data_preprocessor)
        student = built[0] if built else None
        if student is not None and (data_preprocessor is None or not isinstance(architecture, nn.Module)):
            data_preprocessor = student.data_preprocessor
        elif student is not None and isinstance(data_preprocessor, Mapping):
            data_preprocessor = {'type': type(student.data_preprocessor), **data_preprocessor}
        super().__init__(data_preprocessor if student is not None else None, init_cfg)
        self.faults = faults.settle()
        self.frozen_teacher: FrozenTeacher | None = None
        self.architecture: Any = student
        self.module_inplace = module_inplace
        if student is not None and not module_inplace:
            forbid_inplace(student)

    @property
    def student(self) -> nn.Module:
        """The model being trained; another name of ``architecture``."""
        return self.architecture

    def forward(self, inputs: torch.Tensor, data_samples: list[Any] | None = None, mode: str = 'tensor') -> Any:
        """Run the algorithm in one of mmengine's modes.

        Args:
            inputs: Preprocessed batch, (N, C, H, W) for images.
            data_samples: Its annotations.
            mode: ``'loss'``: a dict of losses; ``'predict'`` and ``'tensor'``: what the student returns.

        Raises:
            ValueError: The mode is none of these.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode in ('predict', 'tensor'):
            return self.architecture(inputs, data_samples, mode=mode)
        raise ValueError(f"mode: expected 'loss', 'predict' or 'tensor', got {mode!r}")

    @abstractmethod
    def comparisons(self) -> tuple[Comparison, ...]:
        """What a step consists of, for those who want to look into it; what could not be built is left out."""

    def teacher_models(self) -> dict[str, nn.Module]:
        """The teachers by the key path of their configs."""
        held = self.frozen_teacher.model if self.frozen_teacher is not None else None
        if not isinstance(held, Teachers):
            return {}
        return {f'teachers.{name}': held.get_submodule(name) for name in held.names}

    @abstractmethod
    def loss(self, inputs: torch.Tensor, data_samples: list[Any] | None = None) -> dict[str, torch.Tensor]:
        """The losses of a batch by name."""

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> DistillAlgorithm:
        """Move and cast the frozen teacher along, which ``nn.Module`` cannot see."""
        super()._apply(fn, recurse)
        if self.frozen_teacher is not None:
            self.frozen_teacher.model._apply(fn)
        return self

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if self.frozen_teacher is not None:
            held = tuple(prefix + name for name in TEACHER_PREFIXES)
            names = [name for name in state_dict if name.startswith(held)]
            weights = {name.removeprefix(prefix).partition('.')[2]: state_dict.pop(name) for name in names}
            if weights and not self.frozen_teacher.trained:
                misfit = self.frozen_teacher.load(weights)
                error_msgs += [f'teacher: {misfit}'] if misfit else []
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def forbid_inplace(model: nn.Module) -> None:
    """Make every module with an ``inplace`` switch keep its input."""
    for module in model.modules():
        if getattr(module, 'inplace', False) is True:
            module.inplace = False  # type: ignore[assignment]


def add_prefix(losses: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """``{'loss': …}, 'student' -> {'student.loss': …}``."""
    return {f'{prefix}.{name}': value for name, value in losses.items()}
