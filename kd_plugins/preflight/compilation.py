"""Can this machine, and this student, be compiled?"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from kd_plugins.distiller import DISTILLERS
from kd_plugins.errors import Fault, UserError
from kd_plugins.recorders import FunctionOutputs, ModuleOutputGrads, Recorder
from kd_plugins.recorders.lookup import find_function

# the oldest GPUs that triton makes code for
OLDEST_GPU = (7, 0)


def compiler_faults(config: Any) -> list[Fault]:
    """Look for the compiler that ``torch.compile`` needs, where a config asks for one.

    Args:
        config: The whole config.

    Returns:
        A fault for each key that asks for what this machine lacks.
    """
    lacking = _lacking_on_gpu() if torch.cuda.is_available() else _lacking_on_cpu()
    if not lacking:
        return []
    expected, got, advice = lacking
    return [
        Fault(where, expected, got, f'{advice}, or leave {where.rpartition(".")[2]} out')
        for where, options in _requests(config)
        if _backend(options) == 'inductor'
    ]


def recorder_faults(config: Any, model: nn.Module) -> list[Fault]:
    """Look for recorders of a compiled student that cannot record what happens in compiled code.

    Args:
        config: The whole config.
        model: Its algorithm.

    Returns:
        A fault for each of them.
    """
    if not config.model.get('compile'):
        return []
    faults = []
    for place in DISTILLERS:
        recorders: Any = getattr(getattr(model, place, None), 'student_recorders', None)
        for name, recorder in recorders.recorders.items() if recorders is not None else ():
            if got := _what_compiled_code_lacks(recorder):
                advice = 'record what a module returns, or leave model.compile out'
                fault = Fault('', 'a recorder of a student that is compiled', got, advice)
                faults.append(recorders.declared[name].blame(fault).within(f'model.{place}'))
    return faults


def _requests(config: Any) -> Iterator[tuple[str, Any]]:
    """What a config wants to be compiled, by key path."""
    model = config.get('model') or {}
    teacher = model.get('teacher_forward')
    yield 'compile', config.get('compile')
    yield 'model.compile', model.get('compile')
    if isinstance(teacher, Mapping):
        yield 'model.teacher_forward.compile', teacher.get('compile')


def _backend(options: Any) -> Any:
    """Name of the backend of ``torch.compile``; None where nothing is compiled."""
    if isinstance(options, Mapping):
        return options.get('backend', 'inductor')
    return 'inductor' if options is True else None


def _lacking_on_cpu() -> tuple[str, str, str] | None:
    """What is expected, found and to be done, where inductor would not find the compiler of the code that it writes."""
    compiler = os.environ.get('CXX', 'clang++' if sys.platform == 'darwin' else 'g++')
    if shutil.which(compiler):
        return None
    other = next((name for name in ('g++', 'clang++') if shutil.which(name)), None)
    advice = f'set the environment variable CXX={other}' if other else 'install g++, or name another one in CXX'
    return 'a C++ compiler, which torch.compile needs on a CPU', f'no {compiler} on PATH', advice


def _lacking_on_gpu() -> tuple[str, str, str] | None:
    """The same for triton, which compiles its kernels itself, and what calls them with a C compiler."""
    if importlib.util.find_spec('triton') is None:
        return 'the package triton, which torch.compile needs on a GPU', 'none', 'pip install triton'
    capability = torch.cuda.get_device_capability()
    if capability < OLDEST_GPU:
        got = f'one of compute capability {capability[0]}.{capability[1]}'
        return 'a GPU that triton makes code for, of compute capability 7.0 or later', got, 'use a newer GPU'
    compilers = [os.environ['CC']] if 'CC' in os.environ else ['gcc', 'clang']
    if any(map(shutil.which, compilers)):
        return None
    advice = 'install gcc, or name another one in CC'
    return 'a C compiler, which triton needs', f'no {" and no ".join(compilers)} on PATH', advice


def _what_compiled_code_lacks(recorder: Recorder) -> str:
    if isinstance(recorder, ModuleOutputGrads):
        return f'the gradient of {recorder.source!r}: compiled code is one operation, with no gradient inside'
    if isinstance(recorder, FunctionOutputs) and _is_of_torch(recorder.source):
        return f"{recorder.source!r}: compiled code calls torch's own functions in its own way"
    return ''


def _is_of_torch(path: str) -> bool:
    try:
        function = find_function(path, 'source').function
    except UserError:
        return False  # attaching it says what is wrong
    return function.__module__.partition('.')[0] == 'torch'
