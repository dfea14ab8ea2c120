"""Pickles that are written opcode by opcode."""

import struct
import zipfile


def write_pickle(path, code):
    """A file of torch.save around a pickle that was written opcode by opcode."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        archive.writestr('archive/data.pkl', code)
        archive.writestr('archive/version', '3\n')
        archive.writestr('archive/data/0', bytes(64))


def global_(module, name):
    return f'c{module}\n{name}\n'.encode()


def text(value):
    return b'X' + struct.pack('<I', len(value)) + value.encode()


def whole(value):
    return b'\x8a\x08' + struct.pack('<q', value)


def storage(numel, key='0'):
    """The persistent id of a storage."""
    return b'(' + text('storage') + global_('torch', 'FloatStorage') + text(key) + text('cpu') + whole(numel) + b'tQ'


def rebuilt(numel, size, stride):
    """A tensor of one dimension over a storage."""
    parts = storage(numel) + whole(0) + whole(size) + b'\x85' + whole(stride) + b'\x85\x89'
    return (
        global_('torch._utils', '_rebuild_tensor_v2') + b'(' + parts + global_('collections', 'OrderedDict') + b')RtR'
    )


def named(code):
    """A pickle of ``{'state_dict': {'w': …}}``."""
    return b'\x80\x02}' + text('state_dict') + b'}' + text('w') + code + b'ss.'
