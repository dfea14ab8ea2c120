"""Checkpoints that are larger inside than outside.

A file of a few hundred bytes can ask a reader for more memory than there is, or for more time. These ask for a few
megabytes at most, which is beyond what a file of their size may hold here and harmless anywhere.
"""

import io
import re
import zipfile

import torch
from hostile_cases import LIMITS, case, content_of
from hostile_opcodes import global_, named, rebuilt, text, whole, write_pickle

# elements of float32: 4 MB, where a small file may hold 1 MiB and twice its size
BEYOND = 1_000_000


@case
def zip_that_inflates(path, good, canary):
    """A file of a few kilobytes that inflates to 4 MB."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', named(rebuilt(BEYOND, BEYOND, 1)))
        archive.writestr('archive/version', '3\n')
        archive.writestr('archive/data/0', bytes(4 * BEYOND))


@case
def storage_longer_than_the_file(path, good, canary):
    """A file as of torch before 1.6 that claims 4 MB."""
    buffer = io.BytesIO()
    torch.save({'w': torch.zeros(3)}, buffer, _use_new_zipfile_serialization=False)
    claim = b'J' + BEYOND.to_bytes(4, 'little')
    longer, count = re.subn(rb'(cpuq.)K\x03', lambda found: found[1] + claim, buffer.getvalue())
    assert count == 1
    path.write_bytes(longer)


@case
def expanded_tensor(path, good, canary):
    """A tensor of a million elements over one."""
    torch.save({'state_dict': {'w': torch.zeros(1).expand(BEYOND)}}, path)


@case
def tensor_longer_than_its_storage(path, good, canary):
    """A tensor of a million elements over a storage of 16, which is made longer for it."""
    write_pickle(path, named(rebuilt(16, BEYOND, 1)))


@case
def bytes_by_number(path, good, canary):
    """A call of bytearray, which fills as many bytes with zeros as it is told; here 16."""
    write_pickle(path, named(global_('builtins', 'bytearray') + whole(16) + b'\x85R'))


@case
def moved_tensor(path, good, canary):
    """A tensor that is copied while it is read, which makes an expanded one as large as it claims; here 16 elements."""
    code = rebuilt(16, 16, 1) + global_('torch', 'float64') + text('cpu') + b'\x89'
    write_pickle(path, named(global_('torch._utils', '_rebuild_device_tensor_from_cpu_tensor') + b'(' + code + b'tR'))


@case
def lists_of_one_list(path, good, canary):
    """Lists of ten times the same list, 4 deep: with each level, what has to be looked at is ten times as much."""
    value = [0]
    for _ in range(4):
        value = [value] * 10
    torch.save({'state_dict': content_of(good)['state_dict'], 'note': value}, path)


LIMITS['lists_of_one_list'] = 'MOST_VALUES', 5_000


@case
def nested_deeply(path, good, canary):
    """Dicts in dicts, 250 deep; the reader takes 200."""
    write_pickle(path, named((b'}' + text('a')) * 250 + b'}' + b's' * 250))


@case
def holds_itself(path, good, canary):
    """A dict that holds itself."""
    content = content_of(good)
    content['self'] = content
    torch.save(content, path)


@case
def two_parts_of_one_name(path, good, canary):
    """A zip with two pickles of one name, both of plain values."""
    path.write_bytes(good)
    with zipfile.ZipFile(path, 'a') as archive:
        name = next(name for name in archive.namelist() if name.endswith('data.pkl'))
        archive.writestr(name, b'\x80\x02}.')
