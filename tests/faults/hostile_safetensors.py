"""Files of safetensors that lie about what they hold."""

import json
import pickle
import struct

import safetensors.torch
import torch
from hostile_cases import RUNS_CODE, Creates, case


def _safetensors(name, what, change):
    def write(path, good, canary):
        data = safetensors.torch.save({'a': torch.ones(4), 'b': torch.ones(4)})
        length = struct.unpack('<Q', data[:8])[0]
        path.write_bytes(change(json.loads(data[8 : 8 + length]), data[8 + length :]))

    write.__name__, write.__doc__ = f'safetensors_{name}', what
    SAFETENSORS.add(write.__name__)
    return case(write)


def _joined(header, data, length=None):
    encoded = json.dumps(header).encode()
    return struct.pack('<Q', len(encoded) if length is None else length) + encoded + data


SAFETENSORS = set()
_safetensors(
    'beyond_the_file',
    'Offsets beyond the file.',
    lambda header, data: _joined({**header, 'b': {**header['b'], 'data_offsets': [16, 10**6]}}, data),
)
_safetensors(
    'overlapping',
    'Two tensors over the same bytes.',
    lambda header, data: _joined({**header, 'b': {**header['b'], 'data_offsets': [8, 24]}}, data),
)
_safetensors(
    'header_beyond_the_file', 'A header of a million bytes.', lambda header, data: _joined(header, data, 10**6)
)
_safetensors(
    'wrong_dtype',
    'A type of another width.',
    lambda header, data: _joined({**header, 'b': {**header['b'], 'dtype': 'F64'}}, data),
)
_safetensors(
    'unknown_dtype',
    'A type that there is not.',
    lambda header, data: _joined({**header, 'b': {**header['b'], 'dtype': 'F99'}}, data),
)
_safetensors(
    'shape_beyond_its_data',
    'A shape of a million elements over four.',
    lambda header, data: _joined({**header, 'b': {**header['b'], 'shape': [1000, 1000]}}, data),
)
_safetensors('truncated', 'Cut off in the data.', lambda header, data: _joined(header, data[:-4]))
_safetensors('nested', 'A header of 200 brackets.', lambda header, data: struct.pack('<Q', 200) + b'[' * 200)
_safetensors('of_another_model', 'Sound, with the weights of another model.', _joined)


@case
def safetensors_that_is_a_pickle(path, good, canary):
    """A pickle that calls, named .safetensors."""
    path.write_bytes(pickle.dumps(Creates(canary), 2))


SAFETENSORS.add('safetensors_that_is_a_pickle')
RUNS_CODE.add('safetensors_that_is_a_pickle')
