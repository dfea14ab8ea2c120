"""Checkpoints that would run code when they are loaded by a careless reader.

All that they do is harmless wherever they are loaded: a call creates an empty file, the canary, beside the checkpoint,
and the other kinds refer to something that does nothing. The reader refuses them by the names that they refer to,
whatever is done with these.
"""

import gzip
import io
import pickle
import pickletools
import tarfile
from collections import OrderedDict

import numpy as np
import torch
from hostile_cases import Creates, content_of, runs_code
from hostile_opcodes import global_, named, text, whole, write_pickle

PYTHON = 'open({!r}, "w").close()'


class SetsState:
    """Pickled as a sound dict whose state is set to something that runs."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return OrderedDict, (), {'copy': Creates(self.canary)}


def opened(canary):
    """The arguments of ``open`` on the stack: the path and the mode."""
    return text(str(canary)) + text('w')


@runs_code
def call_of_a_function(path, good, canary):
    """A weight that is a call."""
    torch.save({'state_dict': {'w': Creates(canary)}}, path)


@runs_code
def builtins_exec(path, good, canary):
    """A weight that executes Python."""
    torch.save({'state_dict': {'w': Creates(canary, exec, PYTHON.format(str(canary)))}}, path)


@runs_code
def builtins_eval(path, good, canary):
    """A key of the top that evaluates Python."""
    torch.save({'state_dict': {}, 'epoch': Creates(canary, eval, PYTHON.format(str(canary)))}, path)


@runs_code
def call_by_hand(path, good, canary):
    """A call, opcode by opcode."""
    write_pickle(path, named(global_('io', 'open') + opened(canary) + b'\x86R'))


@runs_code
def instance_opcode(path, good, canary):
    """A call by the opcode INST of Python 1."""
    write_pickle(path, named(b'(' + opened(canary) + b'iio\nopen\n'))


@runs_code
def object_opcode(path, good, canary):
    """A call by the opcode OBJ."""
    write_pickle(path, named(b'(' + global_('io', 'open') + opened(canary) + b'o'))


@runs_code
def functools_partial(path, good, canary):
    """A call of functools.partial around another."""
    code = global_('functools', 'partial') + global_('io', 'open') + opened(canary) + b'\x87R)R'
    write_pickle(path, named(code))


@runs_code
def getattr_of_a_module(path, good, canary):
    """getattr of an imported module."""
    code = global_('builtins', 'getattr') + global_('builtins', '__import__') + text('io') + b'\x85R' + text('open')
    write_pickle(path, named(code + b'\x86R' + opened(canary) + b'\x86R'))


@runs_code
def getattr_of_an_allowed_class(path, good, canary):
    """getattr of a class that mmengine's checkpoints refer to; a general getattr would lead on from there."""
    buffer = global_('mmengine.logging.history_buffer', 'HistoryBuffer')
    write_pickle(path, named(global_('__builtin__', 'getattr') + buffer + text('update') + b'\x86R'))


@runs_code
def loads_another_pickle(path, good, canary):
    """A call of pickle.loads on bytes in it."""
    torch.save({'state_dict': {'w': Creates(canary, pickle.loads, pickle.dumps(Creates(canary)))}}, path)


@runs_code
def allows_itself(path, good, canary):
    """A call of the function that extends torch's allow-list; it is given nothing to allow."""
    write_pickle(path, named(global_('torch.serialization', 'add_safe_globals') + b']\x85R'))


@runs_code
def state_of_a_dict(path, good, canary):
    """An OrderedDict whose method copy is a call."""
    torch.save({'state_dict': SetsState(canary)}, path)


@runs_code
def tensor_with_attributes(path, good, canary):
    """A tensor whose attributes are set by a call."""
    code = global_('torch._tensor', '_rebuild_from_type_v2') + b'(' + global_('io', 'open') + b'N'
    write_pickle(path, named(code + opened(canary) + b'\x86}tR'))


@runs_code
def array_of_objects(path, good, canary):
    """A NumPy array of objects, one of which calls."""
    torch.save({'state_dict': {'w': np.array([Creates(canary)], object)}}, path)


@runs_code
def array_by_call(path, good, canary):
    """A call of numpy.ndarray, which takes memory for whatever the file says; here it makes an empty array."""
    write_pickle(path, named(global_('numpy', 'ndarray') + b'(' + whole(0) + b'\x85' + text('O') + b'tR'))


@runs_code
def type_of_objects(path, good, canary):
    """A NumPy type of objects, where numbers are expected; no array has it."""
    write_pickle(path, named(global_('numpy', 'dtype') + text('O8') + b'\x89\x88\x87R'))


@runs_code
def script(path, good, canary):
    """A TorchScript archive."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


@runs_code
def tar(path, good, canary):
    """The tar format of torch 0.1, whose parts are pickles, here of nothing: torch once read them without a check."""
    code = pickle.dumps(None, 2)
    with tarfile.open(path, 'w') as archive:
        for name in ('sys_info', 'pickle', 'storages', 'tensors'):
            entry = tarfile.TarInfo(name)
            entry.size = len(code)
            archive.addfile(entry, io.BytesIO(code))


@runs_code
def gzipped(path, good, canary):
    """A gzip'd pickle."""
    path.write_bytes(gzip.compress(pickle.dumps(Creates(canary))))


@runs_code
def after_the_magic_number(path, good, canary):
    """A file as of torch before 1.6, whose content calls."""
    torch.save({'state_dict': {'w': Creates(canary)}}, path, _use_new_zipfile_serialization=False)


@runs_code
def in_the_list_of_storages(path, good, canary):
    """A sound file as of torch before 1.6, but for its last pickle."""
    buffer = io.BytesIO()
    torch.save(content_of(good), buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    stream = io.BytesIO(data)
    for _ in range(4):
        list(pickletools.genops(stream))
    path.write_bytes(data[: stream.tell()] + pickle.dumps(Creates(canary), 2))


@runs_code
def config_that_resume_would_execute(path, good, canary):
    """A sound checkpoint whose meta has a config, which mmengine's resume executes as Python."""
    content = content_of(good)
    content['meta']['config'] = PYTHON.format(str(canary))
    torch.save(content, path)


def _protocol(number):
    def write(path, good, canary):
        path.write_bytes(pickle.dumps({'w': Creates(canary)}, number))

    write.__name__ = f'pickle_of_protocol_{number}'
    write.__doc__ = f'A plain pickle of protocol {number} that calls.'
    return runs_code(write)


for _number in range(6):
    _protocol(_number)
