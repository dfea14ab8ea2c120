"""Checkpoints that are damaged, of another model, or something else."""

import io
import json
import zipfile

import torch
from hostile_cases import case, content_of, weights

# tensors that are none of a model


@case
def sparse_tensors(path, good, canary):
    """Sparse weights."""
    torch.save(weights(good, lambda tensor: tensor.float().to_sparse()), path)


@case
def meta_tensors(path, good, canary):
    """Weights without data."""
    torch.save(weights(good, lambda tensor: tensor.to('meta')), path)


@case
def quantised_tensors(path, good, canary):
    """torch's quantised tensors."""
    torch.save(weights(good, lambda tensor: torch.quantize_per_tensor(tensor.float(), 1, 0, torch.qint8)), path)


@case
def whole_numbers(path, good, canary):
    """Integer weights."""
    torch.save(weights(good, lambda tensor: tensor.to(torch.int32)), path)


@case
def complex_numbers(path, good, canary):
    """Complex weights."""
    torch.save(weights(good, lambda tensor: tensor.to(torch.complex64)), path)


@case
def truth_values(path, good, canary):
    """Boolean weights."""
    torch.save(weights(good, lambda tensor: tensor > 0), path)


@case
def eight_bits(path, good, canary):
    """Weights of float8: coarse, but weights."""
    torch.save(
        weights(good, lambda tensor: tensor.to(torch.float8_e4m3fn) if tensor.is_floating_point() else tensor), path
    )


@case
def not_a_number(path, good, canary):
    """NaN in each weight."""
    torch.save(weights(good, lambda tensor: tensor * float('nan') if tensor.is_floating_point() else tensor), path)


@case
def strings_for_weights(path, good, canary):
    """Strings where tensors should be."""
    torch.save(weights(good, str), path)


# other shapes, names and forms


@case
def other_shapes(path, good, canary):
    """Each weight with one more row."""
    torch.save(weights(good, lambda tensor: torch.zeros(tensor.numel() + 1)), path)


@case
def missing_keys(path, good, canary):
    """Half of the weights."""
    content = content_of(good)
    for name in list(content['state_dict'])[::2]:
        del content['state_dict'][name]
    torch.save(content, path)


@case
def extra_keys(path, good, canary):
    """The weights, and one more."""
    content = content_of(good)
    content['state_dict']['architecture.backbone.extra.weight'] = torch.zeros(3)
    torch.save(content, path)


@case
def numbers_for_names(path, good, canary):
    """Weights by number."""
    content = content_of(good)
    content['state_dict'] = dict(enumerate(content['state_dict'].values()))
    torch.save(content, path)


@case
def attributes_of_a_state_dict(path, good, canary):
    """Versions of modules that are no numbers."""
    content = content_of(good)
    content['state_dict']._metadata = {'architecture.backbone': {'version': 'two'}}
    torch.save(content, path)


@case
def empty_dict(path, good, canary):
    """A dict of nothing."""
    torch.save({}, path)


@case
def state_dict_that_is_a_list(path, good, canary):
    """A list under state_dict."""
    torch.save({'state_dict': [torch.zeros(1)]}, path)


@case
def a_list(path, good, canary):
    """A list of tensors."""
    torch.save([torch.zeros(1)], path)


@case
def a_string(path, good, canary):
    """A string."""
    torch.save('weights', path)


@case
def a_tensor(path, good, canary):
    """One tensor."""
    torch.save(torch.zeros(1), path)


# what only a training that goes on looks at


def _with(name, what, change):
    def write(path, good, canary):
        content = content_of(good)
        change(content)
        torch.save(content, path)

    write.__name__, write.__doc__ = name, what
    RESUME_ONLY.add(name)
    return case(write)


RESUME_ONLY = set()
_with('no_meta', 'Without meta.', lambda content: content.pop('meta'))
_with('meta_of_a_wrong_type', 'A list for meta.', lambda content: content.update(meta=[1]))
_with('iteration_of_a_wrong_type', 'A string for the iteration.', lambda content: content['meta'].update(iter='2'))
_with('negative_iteration', 'A negative iteration.', lambda content: content['meta'].update(iter=-2))
_with(
    'message_hub_of_a_wrong_type',
    'A tensor for the messages.',
    lambda content: content.update(message_hub=torch.ones(1)),
)
_with('messages_of_a_wrong_type', 'A list of messages.', lambda content: content['message_hub'].update(log_scalars=[]))
_with('optimizer_of_a_wrong_type', 'A list for the optimiser.', lambda content: content.update(optimizer=[]))
_with(
    'optimizer_of_another_model',
    'The state of an optimiser of one parameter.',
    lambda content: content.update(optimizer=torch.optim.SGD([torch.zeros(3)], 0.1).state_dict()),
)
_with(
    'optimizer_without_its_groups',
    'Groups that are numbers.',
    lambda content: content['optimizer'].update(param_groups=[1, 2]),
)
_with(
    'momentum_of_another_shape',
    'The state of each parameter with one element more.',
    lambda content: [
        entry.update(
            {key: torch.zeros(7) for key, value in entry.items() if isinstance(value, torch.Tensor) and value.dim()}
        )
        for entry in content['optimizer']['state'].values()
    ],
)
_with('schedules_of_a_wrong_type', 'A number for the schedules.', lambda content: content.update(param_schedulers=3))


# files that are damaged, or something else


@case
def empty_file(path, good, canary):
    """No byte."""
    path.write_bytes(b'')


@case
def folder(path, good, canary):
    """A folder."""
    path.mkdir()


@case
def symlink_loop(path, good, canary):
    """A link to itself."""
    path.symlink_to(path.name)


@case
def dangling_link(path, good, canary):
    """A link to nothing."""
    path.symlink_to(f'{path.name}.gone')


def _truncated(percent):
    def write(path, good, canary):
        path.write_bytes(good[: max(1, len(good) * percent // 100)])

    write.__name__, write.__doc__ = f'truncated_to_{percent}_percent', f'The first {percent} % of a sound file.'
    return case(write)


for _percent in (0, 1, 10, 50, 99):
    _truncated(_percent)


@case
def flipped_in_the_pickle(path, good, canary):
    """One bit of the pickle flipped; the checksum in the zip says so."""
    _flip(path, good, good.index(b'state_dict'))


@case
def flipped_in_the_data(path, good, canary):
    """One bit of the largest weight flipped; the checksum in the zip says so."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
        _flip(path, good, good.index(archive.read(largest)) + largest.file_size // 2)


@case
def not_of_its_digest(path, good, canary):
    """A sound file beside the digest of another."""
    path.write_bytes(good)
    path.with_name(f'{path.name}.sha256').write_text(f'{"0" * 64}  {path.name}\n')


@case
def picture(path, good, canary):
    """A PNG."""
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(200))


@case
def json_text(path, good, canary):
    """JSON."""
    path.write_text(json.dumps({'state_dict': {'w': [1, 2]}}))


@case
def error_page(path, good, canary):
    """What a failed download left."""
    path.write_text('<!DOCTYPE html><html><title>404</title></html>')


@case
def another_zip(path, good, canary):
    """A zip of something else."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')


def _flip(path, good, position):
    data = bytearray(good)
    data[position] ^= 8
    path.write_bytes(data)
