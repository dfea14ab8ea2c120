"""The recorders of one model, entered together and popped together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain, islice
from types import TracebackType
from typing import Any

import torch
from torch import nn

from kd_plugins.build import Declared, build_component, find_component, with_suffix, wrong_base_fault
from kd_plugins.errors import Fault, Faults, UserError, is_drafting
from kd_plugins.recorders.module_output_grads import ModuleOutputGrads, take_gradients
from kd_plugins.recorders.recorder import Recorder
from kd_plugins.recorders.tensors import tensors_of
from kd_plugins.registry import TASK_UTILS


class RecorderSet:
    """Builds recorders from what a config declares and treats them as one.

    Args:
        declared: Recorders by name.

    Attributes:
        recorders: Those that could be built, by name.
        faults: Of those that could not, empty unless built inside :func:`kd_plugins.errors.drafting`.

    Raises:
        UserError: A config is not that of a recorder.
    """

    def __init__(self, declared: Mapping[str, Declared]) -> None:
        self.declared = declared
        self.recorders: dict[str, Recorder] = {}
        faults = Faults()
        for name, part in declared.items():
            config = with_suffix(TASK_UTILS, part.config, 'Recorder')
            try:
                fault = wrong_base_fault(find_component(TASK_UTILS, config, ''), TASK_UTILS, 'recorder')
                if fault is not None:
                    raise UserError(fault)
                recorder = build_component(TASK_UTILS, config, '')
            except UserError as error:
                faults += map(part.blame, error.faults)
                continue
            if not isinstance(recorder, Recorder):
                got, advice = f'a {type(recorder).__name__}', 'subclass kd_plugins.recorders.Recorder'
                faults.append(part.blame(Fault('type', 'a recorder', got, advice)))
                continue
            self.recorders[name] = recorder
            faults += map(part.blame, getattr(recorder, 'faults', ()))
        self.faults = faults.settle()

    def attach(self, model: nn.Module) -> tuple[Fault, ...]:
        """Attach every recorder to ``model``.

        Returns:
            While drafting, the faults of the sources that are not in the model; their recorders are dropped.

        Raises:
            UserError: With all sources that are not in the model; no recorder stays attached then.
        """
        faults = Faults()
        for name, recorder in list(self.recorders.items()):
            try:
                recorder.attach(model)
            except UserError as error:
                faults += map(self.declared[name].blame, error.faults)
                del self.recorders[name]
        if faults and not is_drafting():
            self.detach()
        return faults.settle()

    def detach(self) -> None:
        """Detach every recorder."""
        for recorder in reversed(self.recorders.values()):
            recorder.detach()

    def parts(self) -> list[Recorder]:
        """The recorders that do the recording, those inside of others too."""
        return [part for recorder in self.recorders.values() for part in recorder.parts()]

    @contextmanager
    def telling(self, told: Callable[[Recorder, Any], None]) -> Iterator[None]:
        """Call ``told`` with every new record and its recorder, for a while; who was told before is told first."""
        before = [(part, part.told) for part in self.parts()]
        for part, earlier in before:
            part.told = told if earlier is None else partial(_tell_both, earlier, told)
        try:
            yield
        finally:
            for part, earlier in before:
                part.told = earlier

    @contextmanager
    def guarding(self) -> Iterator[Callable[[], bool]]:
        """Watch over the records that are made for a while; yields what says whether one was overwritten since."""
        with self.watching() as overwritten:
            yield lambda: any(map(any, overwritten().values()))

    @contextmanager
    def watching(self) -> Iterator[Callable[[], dict[str, list[bool]]]]:
        """Watch over the records that are made for a while; yields what says which were overwritten since.

        It says so for each call of each recorder, by name. Where a model runs several times, the last run counts.
        """
        noted: dict[Recorder, list[list[tuple[torch.Tensor, int]]]] = {part: [] for part in self.parts()}

        def note(part: Recorder, record: Any) -> None:
            if torch.compiler.is_compiling():
                return
            if part.calls == 1:
                noted[part].clear()
            # tensors of inference mode do not count what is done to them
            noted[part].append(
                [(tensor, tensor._version) for tensor in tensors_of(record) if not tensor.is_inference()]
            )

        def overwritten() -> dict[str, list[bool]]:
            return {
                name: [
                    any(tensor._version != version for call in calls for tensor, version in call)
                    for calls in zip(*(noted[part] for part in recorder.parts()), strict=False)
                ]
                for name, recorder in self.recorders.items()
            }

        with self.telling(note):
            yield overwritten

    @property
    def needs_loss(self) -> bool:
        """Whether a recorder is about the loss of its model.

        The model has to run in mode ``'loss'`` with gradient enabled then, its weights frozen or not, and
        :meth:`take_gradients` is called before :meth:`pop`.
        """
        return any(isinstance(recorder, ModuleOutputGrads) for recorder in self.recorders.values())

    def take_gradients(self, total: torch.Tensor, create_graph: bool) -> None:
        """Have the recorders of gradients take them, all in one backward. No weight's ``grad`` is touched.

        Args:
            total: Sum of the losses of the recorded model alone, without distill losses; a scalar.
            create_graph: Whether the model learns: its gradients can be differentiated then, and the graph is kept. If
                not, the graph is freed, and the other records are taken off it; the caller detaches the losses.

        Raises:
            UserError: With all sources that ``total`` does not depend on.
        """
        waiting = {name: part for name, part in self.recorders.items() if isinstance(part, ModuleOutputGrads)}
        if not waiting:
            return
        outputs = {name: recorder.outputs for name, recorder in waiting.items()}
        try:
            gradients = iter(take_gradients(total, [*chain.from_iterable(outputs.values())], create_graph))
        except UserError as error:
            raise UserError(
                *(self.declared[name].blame(fault) for name in waiting for fault in error.faults)
            ) from error
        faults = Faults()
        for name, recorder in waiting.items():
            try:
                recorder.receive([*islice(gradients, len(outputs[name]))])
            except UserError as error:
                faults += map(self.declared[name].blame, error.faults)
        if not create_graph:
            for part in self.parts():
                part.replace(torch.Tensor.detach)
        if faults:
            raise UserError(*faults)

    def pop(self) -> dict[str, list[Any]]:
        """The records of the last forward by recorder; the recorders forget them.

        Raises:
            UserError: Gradients were not taken; the recorders forget their records nonetheless.
        """
        records, faults = {}, Faults()
        for name, recorder in self.recorders.items():
            try:
                records[name] = recorder.pop()
            except UserError as error:
                faults += map(self.declared[name].blame, error.faults)
        if faults:
            raise UserError(*faults)
        return records

    def __enter__(self) -> RecorderSet:
        with ExitStack() as entered:
            for recorder in self.recorders.values():
                entered.enter_context(recorder)
            entered.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # recorders of one function put back what they found
        for recorder in reversed(self.recorders.values()):
            recorder.__exit__(exc_type, exc_value, traceback)


def _tell_both(
    first: Callable[[Recorder, Any], None], second: Callable[[Recorder, Any], None], part: Recorder, record: Any
) -> None:
    first(part, record)
    second(part, record)
