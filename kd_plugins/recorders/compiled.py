"""torch.compile of a model that is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from kd_plugins.errors import Fault, UserError, describe_error, is_drafting


def compile_recorded(model: nn.Module, options: bool | Mapping[str, Any]) -> None:
    """Compile a model in place, so that its recorders record what the compiled code computes.

    Nothing is compiled before the first forward, and nothing at all while drafting. The names of the weights stay.

    Args:
        model: The model.
        options: Whether to compile, or keyword arguments of ``torch.compile``.

    Raises:
        UserError: They are no arguments of ``torch.compile``.
    """
    if options is False:
        return
    arguments = {} if options is True else options
    try:
        # looks at the arguments alone
        torch.compile(nn.Identity(), **arguments)
    except Exception as error:
        expected, advice = 'True, False, or a dict of arguments of torch.compile', 'correct or remove them'
        got = repr(options) if isinstance(error, AssertionError) else f'{options!r} ({describe_error(error, 200)})'
        raise UserError(Fault('compile', expected, got, advice)) from error
    if is_drafting():
        return
    guard_hooks()
    model.compile(**arguments)


def guard_hooks() -> None:
    """Let torch.compile compile again for a model with other hooks; to be called before a model is compiled.

    By default, what it compiled once serves every model of the same classes and shapes, whatever hooks it has: the
    recorders of a second model would stay empty, and so would those that are attached later. This holds for everything
    that the process compiles from now on.
    """
    # not earlier: it takes seconds to import
    from torch._dynamo import config

    config.skip_nnmodule_hook_guards = False
