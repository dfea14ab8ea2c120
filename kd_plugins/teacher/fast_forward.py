"""The forward of a frozen model for the sake of its records, without what they do not need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from kd_plugins.memory_format import reads_in_order, to_channels_last, to_contiguous, wants_contiguous
from kd_plugins.randomness import own_randomness
from kd_plugins.recorders import ModuleOutputs, Parameter, Recorder, RecorderSet, guard_hooks
from kd_plugins.teacher.prepared import Forward, in_place_of, prepare, signature
from kd_plugins.teacher.teacher_forward import TeacherForward
from kd_plugins.teacher.trace import Trace, trace

# takes inputs and data samples; returns what nobody needs
Run = Callable[[Any, Any], Any]
# a batch of one image is squeezed by some models
FEW = 2


class LastRecord(BaseException):
    """Ends a forward of which nothing more is needed. No Exception, so that no model catches it."""


@dataclass(frozen=True)
class Plan:
    """What the first forward has shown.

    Attributes:
        recorders: Those of that forward.
        run: The way of running the model.
        prepared: Whether layers may be replaced by prepared ones.
        folds: BatchNorm by the convolution that it is folded into.
        overwriting: Activations that overwrite their input.
        records: How many records each recorder has after a whole forward; None where they are all there, but not as
            they will be in the end, before that, and where it depends on the number of images.
        images: The most images of which a whole forward has left so many.
    """

    recorders: RecorderSet
    run: Run
    prepared: bool
    folds: Mapping[nn.Module, nn.Module]
    overwriting: tuple[nn.Module, ...]
    records: Mapping[Recorder, int] | None
    images: int = 0


class FastForward:
    """Runs a frozen model as ``teacher_forward`` says.

    The first run watches the model on two images, to see what may be folded, overwritten and left out. The model itself
    is never changed: between the runs it is as it was built, for validation and ``state_dict``. Weights that change, by
    ``load_state_dict`` or ``to``, are noticed at the next run.

    Args:
        model: The model, in eval mode.
        settings: The switches.

    Attributes:
        channels_last: Whether it runs so, which not every model can.
    """

    def __init__(self, model: nn.Module, settings: TeacherForward) -> None:
        self.model = model
        self.settings = settings
        self._plan: Plan | None = None
        self.channels_last = settings.channels_last and not reads_in_order(model)
        # by dtype of autocast: what the forwards were computed from, and the forwards
        self._prepared: dict[torch.dtype | None, tuple[list[Any], dict[nn.Module, Forward]]] = {}
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, recorders: RecorderSet, inputs: Any, data_samples: Any, runs: Sequence[Run]) -> None:
        """Run the model while its recorders record.

        Args:
            recorders: Attached to the model, and entered.
            inputs: A batch.
            data_samples: Its annotations.
            runs: Ways of running the model. The first one is the plain one; a later one is taken where it leaves the
                same records, or where the plain one fails and it leaves a record of each source.
        """
        inputs = to_channels_last(inputs) if self.channels_last else to_contiguous(inputs)
        device = next((parameter.device.type for parameter in self.model.parameters()), 'cpu')
        widen = self.settings.dtype is not None and not torch.is_autocast_enabled(device)
        with torch.no_grad(), self._autocast(device):
            if self._plan is None or self._plan.recorders is not recorders:
                try:
                    self._plan = self._look(recorders, inputs, data_samples, runs)
                except RuntimeError as error:
                    if not (self.channels_last and wants_contiguous(error)):
                        raise
                    self.channels_last, inputs = False, to_contiguous(inputs)
                    self._plan = self._look(recorders, inputs, data_samples, runs)
                self._prepared, self._compiled = {}, None
            forwards = self._forwards(self._plan, self.settings.autocast_dtype(device))
            with in_place_of(forwards, self._plan.overwriting), self._quietly():
                self._run(self._plan, inputs, data_samples)
        if self.settings.inference_mode or widen:
            for part in recorders.parts():
                part.replace(partial(_usable, widen=widen))

    def _look(self, recorders: RecorderSet, inputs: Any, data_samples: Any, runs: Sequence[Run]) -> Plan:
        """Find out how to run the model, and what its records need."""
        if self.settings.shard:
            # weights that are not here cannot be watched
            return Plan(recorders, runs[0], False, {}, (), None)
        few, samples = first_of(inputs, data_samples)
        chosen: tuple[Run, Trace, list[list[torch.Tensor]]] | None = None
        failures = []
        for run in runs:
            try:
                seen, records = self._watch(recorders, run, few, samples)
            except Exception as error:  # a model need not have this way of being run, nor the data what it asks for
                if chosen is None and self.channels_last and wants_contiguous(error):
                    raise
                failures.append(error)
                continue
            if _equal(chosen[2], records) if chosen else not failures or all(seen.records.values()):
                chosen = run, seen, records
        if chosen is None:
            raise failures[0]
        best, seen, _ = chosen
        # a recorder of methods or functions looks for calls that a prepared layer does not make
        hooked = all(isinstance(part, (ModuleOutputs, Parameter)) for part in recorders.parts())
        return Plan(
            recorders,
            best,
            hooked,
            dict(seen.folds()) if self.settings.fold_bn and hooked else {},
            tuple(seen.overwritable()) if self.settings.inplace else (),
            None if seen.overwritten else seen.records,
            images_of(few, samples) or 0,
        )

    def _watch(
        self, recorders: RecorderSet, run: Run, few: Any, samples: Any
    ) -> tuple[Trace, list[list[torch.Tensor]]]:
        try:
            with own_randomness(gpu=True):
                seen = trace(self.model, recorders, partial(run, few, samples), few)
            return seen, [part.tensors() for part in recorders.parts()]
        finally:
            for part in recorders.parts():
                part.pop()

    def _forwards(self, plan: Plan, dtype: torch.dtype | None) -> dict[nn.Module, Forward]:
        """The forwards of prepared layers, computed again if the weights of those have changed."""
        known = self._prepared.get(dtype)
        if known is not None and known[0] == signature(known[1]):
            return known[1]
        with torch.autocast('cpu', enabled=False), torch.autocast('cuda', enabled=False):
            forwards = prepare(self.model, plan.folds, dtype, self.channels_last) if plan.prepared else {}
        self._prepared[dtype] = signature(forwards), forwards
        return forwards

    def _run(self, plan: Plan, inputs: Any, data_samples: Any) -> None:
        if self.settings.compile:
            if self._compiled is None:
                options = self.settings.compile if isinstance(self.settings.compile, Mapping) else {}
                guard_hooks()
                self._compiled = torch.compile(plan.run, **options)
            self._compiled(inputs, data_samples)
            return
        if not self.settings.stop_early or plan.records is None:
            plan.run(inputs, data_samples)
            return
        images = images_of(inputs, data_samples)
        if images is not None and images <= plan.images:
            with _stop_after(plan.recorders, plan.records):
                plan.run(inputs, data_samples)
            return
        plan.run(inputs, data_samples)
        as_many = all(part.calls == plan.records[part] for part in plan.recorders.parts())
        self._plan = replace(plan, images=images or 0) if as_many else replace(plan, records=None)

    def _quietly(self) -> AbstractContextManager[Any]:
        # inference_mode(False) would switch gradient on
        return torch.inference_mode() if self.settings.inference_mode else nullcontext()

    def _autocast(self, device: str) -> AbstractContextManager[Any]:
        if self.settings.dtype is None:
            return nullcontext()
        dtype = self.settings.autocast_dtype(device)
        return torch.autocast(device, dtype=dtype, enabled=dtype is not None)


@contextmanager
def _stop_after(recorders: RecorderSet, records: Mapping[Recorder, int]) -> Iterator[None]:
    """End the forward as soon as every recorder has as many records as a whole forward gives it."""
    waiting = {part: count for part, count in records.items() if count}

    def told(part: Recorder, record: Any) -> None:
        if part.calls == waiting.get(part):
            del waiting[part]
            if not waiting:
                raise LastRecord

    with recorders.telling(told), suppress(LastRecord):
        yield


def first_of(inputs: Any, data_samples: Any) -> tuple[Any, Any]:
    """The first images of a batch and their annotations; the whole batch where it cannot be cut."""
    size = len(inputs) if isinstance(inputs, torch.Tensor) and inputs.dim() else 0
    if size <= FEW:
        return inputs, data_samples
    if data_samples is None:
        return inputs[:FEW], None
    if isinstance(data_samples, (torch.Tensor, list, tuple)) and len(data_samples) == size:
        return inputs[:FEW], data_samples[:FEW]
    return inputs, data_samples


def images_of(inputs: Any, data_samples: Any) -> int | None:
    """How many images a batch has; None where neither it nor its annotations say."""
    if isinstance(inputs, torch.Tensor) and inputs.dim():
        return len(inputs)
    # a list of tensors may hold images, or views of all of them
    return len(data_samples) if isinstance(data_samples, (torch.Tensor, list, tuple)) else None


def _equal(ones: list[list[torch.Tensor]], others: list[list[torch.Tensor]]) -> bool:
    return all(
        len(one) == len(other)
        and all(
            a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, other, strict=True)
        )
        for one, other in zip(ones, others, strict=True)
    )


def _usable(tensor: torch.Tensor, widen: bool) -> torch.Tensor:
    """A record that a loss can use: autograd takes no tensor of inference mode, float32 layers no half precision."""
    if widen and tensor.dtype in (torch.float16, torch.bfloat16):
        return tensor.float()
    return tensor.clone() if tensor.is_inference() else tensor
