"""Checkpoints that would run code when they are loaded by a careless reader."""

import gzip
import io
import os
import pickle
import pickletools
import tarfile
from collections import OrderedDict

import numpy as np
import torch
from hostile_cases import Calls, content_of, runs_code
from hostile_opcodes import global_, named, text, whole, write_pickle

PYTHON = 'import os; os.system("touch {}")'


class SetsState:
    """Pickled as a sound dict whose state is set to something that runs."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return OrderedDict, (), {'copy': Calls(os.system, f'touch {self.canary}')}


@runs_code
def os_system(path, good, canary):
    """A weight that calls os.system."""
    torch.save({'state_dict': {'w': Calls(os.system, f'touch {canary}')}}, path)


@runs_code
def builtins_exec(path, good, canary):
    """A weight that executes Python."""
    torch.save({'state_dict': {'w': Calls(exec, PYTHON.format(canary))}}, path)


@runs_code
def builtins_eval(path, good, canary):
    """A key of the top that evaluates Python."""
    torch.save({'state_dict': {}, 'epoch': Calls(eval, f'open({str(canary)!r}, "w")')}, path)


@runs_code
def posix_system_by_hand(path, good, canary):
    """A call of posix.system, opcode by opcode."""
    write_pickle(path, named(global_('posix', 'system') + text(f'touch {canary}') + b'\x85R'))


@runs_code
def instance_opcode(path, good, canary):
    """A call by the opcode INST of Python 1."""
    write_pickle(path, named(b'(' + text(f'touch {canary}') + b'ios\nsystem\n'))


@runs_code
def object_opcode(path, good, canary):
    """A call by the opcode OBJ."""
    write_pickle(path, named(b'(' + global_('os', 'system') + text(f'touch {canary}') + b'o'))


@runs_code
def functools_partial(path, good, canary):
    """A call of functools.partial around another."""
    code = global_('functools', 'partial') + global_('os', 'system') + text(f'touch {canary}') + b'\x86R)R'
    write_pickle(path, named(code))


@runs_code
def getattr_of_a_module(path, good, canary):
    """getattr of an imported module."""
    code = global_('builtins', 'getattr') + global_('builtins', '__import__') + text('os') + b'\x85R' + text('system')
    write_pickle(path, named(code + b'\x86R' + text(f'touch {canary}') + b'\x85R'))


@runs_code
def getattr_of_an_allowed_class(path, good, canary):
    """getattr of a class that mmengine's checkpoints refer to, on the way to everything."""
    buffer = global_('mmengine.logging.history_buffer', 'HistoryBuffer')
    code = global_('__builtin__', 'getattr') + buffer + text('__init__') + b'\x86R'
    code = global_('__builtin__', 'getattr') + code + text('__globals__') + b'\x86R'
    write_pickle(path, named(code))


@runs_code
def loads_another_file(path, good, canary):
    """torch.load, unsafe, of a second file beside it."""
    second = path.with_name(f'{path.name}.second')
    second.write_bytes(pickle.dumps(Calls(os.system, f'touch {canary}')))
    torch.save({'state_dict': {'w': Calls(pickle.loads, second.read_bytes())}}, path)


@runs_code
def allows_itself(path, good, canary):
    """Adds os.system to the allow-list first."""
    code = global_('torch.serialization', 'add_safe_globals') + b']' + global_('os', 'system') + b'a\x85R'
    write_pickle(path, named(code))


@runs_code
def state_of_a_dict(path, good, canary):
    """An OrderedDict whose method copy is a call."""
    torch.save({'state_dict': SetsState(canary)}, path)


@runs_code
def tensor_with_attributes(path, good, canary):
    """A tensor whose attributes are set by a call."""
    code = global_('torch._tensor', '_rebuild_from_type_v2') + b'(' + global_('os', 'system') + b'N'
    write_pickle(path, named(code + text(f'touch {canary}') + b'\x85}tR'))


@runs_code
def array_of_objects(path, good, canary):
    """A NumPy array of objects, one of which calls."""
    torch.save({'state_dict': {'w': np.array([Calls(os.system, f'touch {canary}')], object)}}, path)


@runs_code
def array_of_pointers(path, good, canary):
    """A NumPy array of objects over bytes of the file's choice, which would be taken for pointers."""
    code = global_('numpy', 'ndarray') + b'(' + whole(1) + b'\x85' + text('O')
    code += global_('_codecs', 'encode') + text('A' * 8) + text('latin1') + b'\x86RtR'
    write_pickle(path, named(code))


@runs_code
def type_of_pointers(path, good, canary):
    """A NumPy type of numbers that is told it has fields of objects, and an array of it."""
    kind = global_('numpy', 'dtype') + text('f8') + b'\x89\x88\x87R'
    fields = b'}' + text('a') + global_('numpy', 'dtype') + text('O8') + b'\x89\x88\x87R' + whole(0) + b'\x86s'
    kind += b'(' + whole(3) + text('<') + b'N' + text('a') + b'\x85' + fields + whole(8) + whole(8) + whole(63) + b'tb'
    write_pickle(path, named(kind))


@runs_code
def script(path, good, canary):
    """A TorchScript archive."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


@runs_code
def tar(path, good, canary):
    """The tar format of torch 0.1, whose parts are pickles."""
    code = pickle.dumps(Calls(os.system, f'touch {canary}'), 2)
    with tarfile.open(path, 'w') as archive:
        for name in ('sys_info', 'pickle', 'storages', 'tensors'):
            entry = tarfile.TarInfo(name)
            entry.size = len(code)
            archive.addfile(entry, io.BytesIO(code))


@runs_code
def gzipped(path, good, canary):
    """A gzip'd pickle."""
    path.write_bytes(gzip.compress(pickle.dumps(Calls(os.system, f'touch {canary}'))))


@runs_code
def after_the_magic_number(path, good, canary):
    """A file as of torch before 1.6, whose content calls."""
    torch.save({'state_dict': {'w': Calls(os.system, f'touch {canary}')}}, path, _use_new_zipfile_serialization=False)


@runs_code
def in_the_list_of_storages(path, good, canary):
    """A sound file as of torch before 1.6, but for its last pickle."""
    buffer = io.BytesIO()
    torch.save(content_of(good), buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    stream = io.BytesIO(data)
    for _ in range(4):
        list(pickletools.genops(stream))
    path.write_bytes(data[: stream.tell()] + pickle.dumps(Calls(os.system, f'touch {canary}'), 2))


@runs_code
def config_that_resume_would_execute(path, good, canary):
    """A sound checkpoint whose meta has a config, which mmengine's resume executes as Python."""
    content = content_of(good)
    content['meta']['config'] = PYTHON.format(canary)
    torch.save(content, path)


def _protocol(number):
    def write(path, good, canary):
        path.write_bytes(pickle.dumps({'w': Calls(os.system, f'touch {canary}')}, number))

    write.__name__ = f'pickle_of_protocol_{number}'
    write.__doc__ = f'A plain pickle of protocol {number} that calls.'
    return runs_code(write)


for _number in range(6):
    _protocol(_number)
