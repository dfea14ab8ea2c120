"""What all algorithms share: a student that is trained, evaluated and saved, and perhaps a frozen teacher."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import nn

from kd_plugins.algorithms.comparison import Comparison
from kd_plugins.algorithms.inplace import forbid_inplace, in_eval_mode
from kd_plugins.build import build_model
from kd_plugins.checkpoint import STUDENT_PREFIX
from kd_plugins.errors import Fault, Faults, UserError
from kd_plugins.memory_format import (
    reads_in_order,
    store_channels_last,
    store_contiguous,
    to_channels_last,
    to_contiguous,
    wants_contiguous,
)
from kd_plugins.randomness import own_randomness
from kd_plugins.recorders import compile_recorded
from kd_plugins.teacher import FrozenTeacher, Teachers
from kd_plugins.teacher.fast_forward import first_of

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
            keep their input where a record of it would not stay true.
        channels_last: Keep images, feature maps and the weights of convolutions with channels last in memory, which
            convolutions run fastest in. What cannot run so, as models with operators of mmcv, does not.
        compile: Compile the student's forward with ``torch.compile``, its recorders included; a dict has the arguments
            of ``torch.compile``. Weights keep their names.

    Attributes:
        channels_last: Whether it runs so.
        frozen_teacher: What is imitated and does not learn; None where there is no such model. It is outside the
            module tree, but moves and is cast with the algorithm. A checkpoint of MMRazor holds it: its weights are
            taken from there if it has no trained ones of its own, and left out otherwise.
        faults: What is wrong with the config, empty unless built inside :func:`kd_plugins.errors.drafting`; what could
            not be built is None then.

    Raises:
        UserError: ``architecture`` is not a student, or ``compile`` is not for ``torch.compile``.
    """

    def __init__(
        self,
        architecture: Any,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | None = None,
        module_inplace: bool = False,
        channels_last: bool = True,
        compile: bool | dict[str, Any] = False,
    ) -> None:
        faults = Faults()
        built = faults.attempt(build_model, architecture, 'architecture', data_preprocessor)
        student = built[0] if built else None
        if student is not None and (data_preprocessor is None or not isinstance(architecture, nn.Module)):
            data_preprocessor = student.data_preprocessor
        elif student is not None and isinstance(data_preprocessor, Mapping):
            data_preprocessor = {'type': type(student.data_preprocessor), **data_preprocessor}
        super().__init__(data_preprocessor if student is not None else None, init_cfg)
        self.frozen_teacher: FrozenTeacher | None = None
        self.architecture: Any = student
        self.module_inplace = module_inplace
        kept = forbid_inplace(student) if student is not None and not module_inplace else []
        # those that may overwrite their input if no record minds; compiled code needs no memory for it anyway
        self._activations = [] if compile else kept
        self.channels_last = channels_last and (student is None or not reads_in_order(student))
        self._layout_tried = False
        if student is not None and self.channels_last:
            store_channels_last(student)
        if student is not None:
            faults.attempt(compile_recorded, student, compile)
        self.faults = faults.settle()

    @property
    def student(self) -> nn.Module:
        """The model being trained; another name of ``architecture``."""
        return self.architecture

    @property
    def detector(self) -> nn.Module:
        """The student again: under this name mmdet's hooks look for the model inside of another."""
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
        inputs = self.lay_out(inputs, data_samples)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode in ('predict', 'tensor'):
            return self.architecture(inputs, data_samples, mode=mode)
        raise ValueError(f"mode: expected 'loss', 'predict' or 'tensor', got {mode!r}")

    def lay_out(self, inputs: Any, data_samples: Any) -> Any:
        """A batch in the memory layout that the student runs in, which the first batch decides."""
        if self.channels_last and not self._layout_tried:
            self._try_layout(inputs, data_samples)
        return to_channels_last(inputs) if self.channels_last else to_contiguous(inputs)

    def _try_layout(self, inputs: Any, data_samples: Any) -> None:
        """Run the student on two images, and go back to contiguous tensors if it cannot do without."""
        self._layout_tried = True
        few, samples = first_of(to_channels_last(inputs), data_samples)
        try:
            with torch.no_grad(), own_randomness(gpu=True), in_eval_mode(self.architecture):
                # forward itself: what is compiled is not compiled for this
                self.architecture.forward(few, samples, mode='tensor')
        except Exception as error:
            # what else it cannot do, the training will tell
            if wants_contiguous(error):
                self.keep_contiguous()

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """How deep a parameter lies, for layer-wise learning rates such as mmpretrain's.

        The student's parameters lie as deep as in the student alone. All others, of connectors and of a trainable
        teacher, lie as deep as its last layer, whose learning rate is not decayed.

        Args:
            param_name: As ``named_parameters()`` gives it, with ``prefix`` before it.
            prefix: Before the names of all parameters of this model.

        Returns:
            The depth, from 0 on, and the number of depths.

        Raises:
            UserError: The student does not know the depth of its parameters.
        """
        name = param_name.removeprefix(prefix)
        own = name.startswith(STUDENT_PREFIX)
        if not own:
            name = next(STUDENT_PREFIX + inner for inner, _ in self.architecture.named_parameters())
        try:
            depth, count = self.architecture.get_layer_depth(name.removeprefix(STUDENT_PREFIX))
        except (AttributeError, NotImplementedError) as error:
            backbone = getattr(self.architecture, 'backbone', self.architecture)
            got = f'a {type(backbone).__name__}, which has no get_layer_depth'
            advice = (
                "remove the constructor and layer_decay_rate; paramwise_cfg=dict(custom_keys={'architecture.backbone': "
                'dict(lr_mult=0.1)}) sets the learning rate of a part'
            )
            raise UserError(Fault('constructor', 'a student with layer-wise learning rates', got, advice)) from error
        return (depth, count) if own else (count - 1, count)

    def keep_contiguous(self) -> None:
        """Run all that learns in the layout that the shapes say from now on."""
        self.channels_last = False
        store_contiguous(self)

    def _run_forward(self, data: Any, mode: str) -> Any:
        if self.channels_last and isinstance(data, dict) and 'inputs' in data:
            # in the dict of the caller: the batch is not held in both layouts
            data['inputs'] = to_channels_last(data['inputs'])
        return super()._run_forward(data, mode)

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
            self.frozen_teacher.move(fn)
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


def add_prefix(losses: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """``{'loss': …}, 'student' -> {'student.loss': …}``."""
    return {f'{prefix}.{name}': value for name, value in losses.items()}
