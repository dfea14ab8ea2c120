"""A teacher that only gives: it never learns, never changes and never travels with the student."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from kd_plugins.checkpoint import describe_misfit
from kd_plugins.errors import is_drafting
from kd_plugins.memory_format import to_contiguous
from kd_plugins.recorders import RecorderSet
from kd_plugins.teacher.cache.fingerprint import remember_fingerprint
from kd_plugins.teacher.fast_forward import FastForward, Run
from kd_plugins.teacher.sharding import can_shard, shard
from kd_plugins.teacher.teacher_forward import TeacherForward
from kd_plugins.teacher.teachers import Teachers


class FrozenTeacher:
    """Holds a model outside the module tree of the algorithm.

    Not being a submodule keeps it out of everything that walks the tree: the optimiser, checkpoints,
    DistributedDataParallel, ``train()`` and weight initialisation. It is in eval mode as a whole (Dropout and DropPath
    too, not BatchNorm alone), and copies of the algorithm, such as EMA's, share it.

    Args:
        model: The teacher; put in eval mode and out of gradient here.
        trained: Whether it has trained weights.
        settings: How it is run for its records.

    Attributes:
        trained: Whether it has trained weights by now.
        sharded: Whether each process holds a share of its weights. A teacher is sharded as it is built, where the
            process group is there and it is not for a preflight.
    """

    def __init__(self, model: nn.Module, trained: bool = True, settings: TeacherForward | None = None) -> None:
        # not in one chain: eval() of some models, such as those that override train() without a return, gives None
        model.eval()
        model.requires_grad_(False)
        self.model = model
        self.trained = trained
        self.settings = settings or TeacherForward()
        self._fast = FastForward(model, self.settings)
        self.sharded = self.settings.shard and can_shard() and not is_drafting()
        if self.sharded:
            for part in [model.get_submodule(name) for name in model.names] if isinstance(model, Teachers) else [model]:
                remember_fingerprint(part)
                shard(part)

    def record(
        self, recorders: RecorderSet, inputs: Any, data_samples: Any, runs: Sequence[Run] = (), whole: bool = False
    ) -> Any:
        """Run the teacher for its records.

        Args:
            recorders: Attached to it, and entered.
            inputs: A batch.
            data_samples: Its annotations.
            runs: Ways of running it, see :class:`FastForward`; by default those of the settings' ``mode``.
            whole: Run all of it, as it is built, under the caller's settings of gradient: others than the recorders
                look on, or need its loss.

        Returns:
            Its losses if ``whole``.
        """
        if self.model.training:
            self.model.eval()
        if whole:
            return (runs or [partial(self._in_mode, 'loss')])[0](to_contiguous(inputs), data_samples)
        return self._fast(recorders, inputs, data_samples, runs or self._runs())

    def keep_contiguous(self) -> None:
        """Run it in the layout that the shapes say, before it has run."""
        self._fast.channels_last = False

    def load(self, weights: Mapping[str, torch.Tensor]) -> str:
        """Take trained weights.

        Args:
            weights: All tensors of the model's ``state_dict``.

        Returns:
            What did not fit; empty where all did.
        """
        if self.sharded:
            return 'it is sharded, and takes no weights from a checkpoint of the training: name them in its config'
        misfit = describe_misfit(self.model, weights)
        self.trained = not misfit
        return misfit

    def move(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Apply what moves and casts the algorithm.

        One that is to be sharded, and is not, stays where it is: it may be too large for the device.

        Args:
            function: Of ``nn.Module._apply``.
        """
        if self.sharded or not self.settings.shard:
            self.model._apply(function)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        return self

    def _runs(self) -> list[Run]:
        modes = ('loss', 'tensor') if self.settings.mode == 'auto' else (self.settings.mode,)
        return [partial(self._in_mode, mode) for mode in modes]

    def _in_mode(self, mode: str, inputs: Any, data_samples: Any) -> Any:
        return self.model(inputs, data_samples, mode=mode)
