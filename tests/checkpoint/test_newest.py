import io
import os

import pytest
import torch

from kd_plugins.checkpoint import WholeFileBackend, newest_whole_checkpoint


def save(path, iteration, time='20260101_000000', **more):
    content = dict(
        meta=dict(time=time, iter=iteration), message_hub={}, optimizer={}, state_dict={'w': torch.zeros(1000)}, **more
    )
    with io.BytesIO() as file:
        torch.save(content, file)
        WholeFileBackend().put(file.getvalue(), path)


@pytest.fixture
def folder(tmp_path):
    for iteration in (2, 4, 10):
        save(tmp_path / f'iter_{iteration}.pth', iteration)
    return tmp_path


def test_the_highest_iteration(folder):
    found = newest_whole_checkpoint(folder)
    assert found.path.name == 'iter_10.pth'
    assert found.passed_over == {}


def test_a_later_training_in_the_same_folder(folder):
    save(folder / 'epoch_1.pth', 1, time='20260102_000000')
    # what was copied may be younger
    os.utime(folder / 'iter_10.pth')
    assert newest_whole_checkpoint(folder).path.name == 'epoch_1.pth'


@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize('digest', [True, False])
def test_a_truncated_one_is_passed_over(folder, share, digest):
    path = folder / 'iter_10.pth'
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    if not digest:
        (folder / 'iter_10.pth.sha256').unlink()
    found = newest_whole_checkpoint(folder)
    assert found.path.name == 'iter_4.pth'
    assert [path.name for path in found.passed_over] == ['iter_10.pth']


@pytest.mark.parametrize('digest', [True, False])
def test_a_flipped_bit_is_seen(folder, digest):
    """In the middle of the tensor's zeros: a pickle reads well with it."""
    path = folder / 'iter_10.pth'
    content = bytearray(path.read_bytes())
    content[content.index(bytes(2000)) + 1000] ^= 1
    path.write_bytes(content)
    if not digest:
        (folder / 'iter_10.pth.sha256').unlink()
    found = newest_whole_checkpoint(folder)
    assert found.path.name == 'iter_4.pth'
    assert list(found.passed_over)


def test_weights_alone_are_no_training(folder):
    torch.save({'state_dict': {}}, folder / 'student.pth')
    save(folder / 'best_accuracy_iter_20.pth', 20)
    found = newest_whole_checkpoint(folder)
    assert found.path.name == 'iter_10.pth'
    assert found.passed_over == {}


def test_none_is_whole(folder):
    for path in folder.glob('*.pth'):
        path.write_bytes(b'')
    found = newest_whole_checkpoint(folder)
    assert found.path is None
    assert len(found.passed_over) == 3


def test_an_empty_folder(tmp_path):
    assert newest_whole_checkpoint(tmp_path).path is None
