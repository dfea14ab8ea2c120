"""What a pickle of a checkpoint may refer to: tensors, plain values, and what mmengine saves beside them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

# NumPy keeps the function that rebuilds its scalars in a private module
_rebuild_scalar: Any = np.float64(0).__reduce__()[0]
# the methods that mmengine's checkpoints refer to, by class
METHODS_IN_CHECKPOINTS: dict[Any, tuple[str, ...]] = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}
# less than torch allows: some of its rebuilders allocate and fill what a file of a hundred bytes asks for
_OF_TORCH = {
    'collections.OrderedDict',
    'collections.Counter',
    '_codecs.encode',
    '__builtin__.set',
    'builtins.set',
    '__builtin__.complex',
    'builtins.complex',
    'torch.Size',
    'torch.device',
    'torch.storage.UntypedStorage',
    'torch._utils._rebuild_parameter',
    'torch._utils._rebuild_tensor',
    'torch._utils._rebuild_tensor_v2',
    'torch._utils._rebuild_tensor_v3',
}
# pickles of Python 2, and of protocol 2, call it so
_OLD_NAMES = {'__builtin__.getattr'}
# no pickle can say this name, for names end with the line
_UNSPEAKABLE = 'no\nname: {}'


def allow_mmengine_checkpoints() -> None:
    """Let torch's weights-only loader read what mmengine puts into its own checkpoints, and no more.

    mmengine 0.10 saves ``HistoryBuffer`` objects (NumPy arrays) and, of a OneCycle schedule, its annealing function.
    Both refer to methods of their class, which are pickled as calls of ``getattr``: those methods are allowed, the
    general ``getattr`` stays forbidden. NumPy's own functions would take any bytes for pointers to objects: ours build
    arrays of numbers alone.
    """
    codes = np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?'
    filled: list[Any] = [np.ndarray, *{type(np.dtype(code)) for code in codes}]
    torch.serialization.add_safe_globals(
        [
            *METHODS_IN_CHECKPOINTS,
            (_method_in_checkpoint, 'builtins.getattr'),
            (_no_array, 'numpy.ndarray'),
            (_number_type, 'numpy.dtype'),
            (_empty_array, 'numpy._core.multiarray._reconstruct'),
            (_empty_array, 'numpy.core.multiarray._reconstruct'),
            (_rebuild_scalar, 'numpy._core.multiarray.scalar'),
            (_rebuild_scalar, 'numpy.core.multiarray.scalar'),
            # may be filled once they are built, but not called
            *((kind, _UNSPEAKABLE.format(kind.__name__)) for kind in filled),
        ]
    )


def is_allowed(name: str) -> bool:
    """Whether a pickle of a checkpoint may refer to something.

    Args:
        name: Its module and its name in there, with a dot between.
    """
    if name in _OF_TORCH or name in _OLD_NAMES:
        return True
    module, _, last = name.rpartition('.')
    if module in ('torch', 'torch.cuda') and last.endswith('Storage'):
        return True
    if module == 'torch' and isinstance(getattr(torch, last, None), torch.dtype):
        return True
    return any(name == _name_of(entry) for entry in torch.serialization.get_safe_globals())


def _name_of(entry: Any) -> str:
    return entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'


def _number_type(code: Any, *_: Any) -> np.dtype:
    """NumPy's own object of a type of numbers, which no state that a pickle gives can change."""
    kind = np.dtype(code) if isinstance(code, str) else np.dtype(object)
    if kind.kind not in 'biufc':
        raise pickle.UnpicklingError(f'Unsupported NumPy array of {code!r}')
    return np.dtype(kind.type)


def _no_array(*_: Any) -> None:
    raise pickle.UnpicklingError('Unsupported call of numpy.ndarray')


def _empty_array(*_: Any) -> np.ndarray:
    return np.zeros(0)


def _method_in_checkpoint(owner: Any, name: str) -> Any:
    if name not in METHODS_IN_CHECKPOINTS.get(owner, ()):
        raise pickle.UnpicklingError(f'Unsupported getattr({owner!r}, {name!r})')
    return getattr(owner, name)
