"""Recorder of what a module returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from kd_plugins.errors import Fault, UserError, closest, join_path
from kd_plugins.recorders.recorder import Recorder
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module(name=['ModuleOutputs', 'ModuleOutputsRecorder'])
class ModuleOutputs(Recorder):
    """Records the output of a module, once for each time that it is called.

    Args:
        source: Path of the module as ``model.named_modules()`` gives it, e.g. ``'backbone.layer4.1.relu'``; ``''``
            for the model itself. A container that has no forward, such as ``nn.ModuleList``, cannot be recorded.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 2))
        >>> recorder = ModuleOutputs('0')
        >>> recorder.attach(model)
        >>> with recorder:
        ...     _ = model(torch.rand(3, 4))
        >>> [record.shape for record in recorder.pop()]
        [torch.Size([3, 2])]
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._handle: RemovableHandle | None = None

    def attach(self, model: nn.Module) -> None:
        """Hook the module ``source`` of ``model``.

        Raises:
            UserError: The model has no module of that name, or it has no forward; other names are given.
        """
        modules = dict(model.named_modules(remove_duplicate=False))
        if self.source not in modules:
            raise UserError(
                Fault(
                    'source',
                    f'a module of {type(model).__name__}',
                    repr(self.source),
                    closest(self.source, filter(None, modules)),
                )
            )
        module = modules[self.source]
        if not _has_forward(module):
            got = f'{self.source!r}, a {type(module).__name__}, which has none'
            names = list(_inside(module, self.source))
            few = ', '.join(names[:12]) + (', …' if len(names) > 12 else '')
            advice = f'choose one of {few}' if names else 'there is none inside: choose another module'
            raise UserError(Fault('source', 'a module with a forward of its own', got, advice))
        self.detach()
        self._handle = module.register_forward_hook(self._record)

    def detach(self) -> None:
        """Remove the hook."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _record(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Forward hook: what it returns, unless None, takes the place of the output."""
        self._keep(output)


def _has_forward(module: nn.Module) -> bool:
    return getattr(module.forward, '__func__', None) is not nn.Module.forward


def _inside(container: nn.Module, path: str) -> Iterator[str]:
    """Names of the modules with a forward that stand in a container, or in the containers in it."""
    for name, child in container.named_children():
        place = join_path(path, name)
        if _has_forward(child):
            yield place
        else:
            yield from _inside(child, place)
