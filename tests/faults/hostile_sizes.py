"""Checkpoints that are larger inside than outside."""

import io
import re
import zipfile

import torch
from hostile_cases import case, content_of, weights
from hostile_opcodes import global_, named, rebuilt, text, whole, write_pickle


@case
def zip_bomb(path, good, canary):
    """A file of 100 kB that inflates to 100 MB."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', named(rebuilt(25_000_000, 25_000_000, 1)))
        archive.writestr('archive/version', '3\n')
        archive.writestr('archive/data/0', bytes(100_000_000))


@case
def storage_longer_than_the_file(path, good, canary):
    """A file as of torch before 1.6 that claims 8 GB."""
    buffer = io.BytesIO()
    torch.save({'w': torch.zeros(3)}, buffer, _use_new_zipfile_serialization=False)
    longer, count = re.subn(rb'(cpuq.)K\x03', lambda found: found[1] + b'J\x00\x00\x00\x7f', buffer.getvalue())
    assert count == 1
    path.write_bytes(longer)


@case
def expanded_tensor(path, good, canary):
    """A tensor of a billion elements over one."""
    torch.save(weights(good, lambda tensor: torch.zeros(1).expand(10**9)), path)


@case
def tensor_longer_than_its_storage(path, good, canary):
    """A tensor that resizes its storage to 40 GB."""
    write_pickle(path, named(rebuilt(16, 10**10, 1)))


@case
def bytes_by_number(path, good, canary):
    """bytearray(20 GB), which fills them with zeros."""
    write_pickle(path, named(global_('builtins', 'bytearray') + whole(20 * 10**9) + b'\x85R'))


@case
def moved_expanded_tensor(path, good, canary):
    """An expanded tensor that is copied while it is read."""
    code = rebuilt(16, 10**10, 0) + global_('torch', 'float64') + text('cpu') + b'\x89'
    write_pickle(path, named(global_('torch._utils', '_rebuild_device_tensor_from_cpu_tensor') + b'(' + code + b'tR'))


@case
def laughing_lists(path, good, canary):
    """Lists of ten times the same list, 12 deep."""
    value = [0]
    for _ in range(12):
        value = [value] * 10
    torch.save({'state_dict': content_of(good)['state_dict'], 'note': value}, path)


@case
def nested_deeply(path, good, canary):
    """Dicts in dicts, 10,000 deep."""
    write_pickle(path, named((b'}' + text('a')) * 10_000 + b'}' + b's' * 10_000))


@case
def holds_itself(path, good, canary):
    """A dict that holds itself."""
    content = content_of(good)
    content['self'] = content
    torch.save(content, path)


@case
def two_parts_of_one_name(path, good, canary):
    """A zip with two pickles of one name."""
    path.write_bytes(good)
    with zipfile.ZipFile(path, 'a') as archive:
        name = next(name for name in archive.namelist() if name.endswith('data.pkl'))
        archive.writestr(name, b'\x80\x02}.')
