"""What of each process a checkpoint holds, once."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
import torch.distributed
from processes import spawn
from toy import ToyClassifier

from kd_plugins.engine.distributed import use_loopback
from kd_plugins.engine.resume.progress import Progress, load_progress, save_progress

PROCESSES = 2


def runner_of(rank):
    """With BatchNorm statistics of its own images, and a buffer that ``state_dict`` leaves out."""
    model = ToyClassifier()
    model.register_buffer('count', torch.zeros(1), persistent=False)
    for buffer in (model.bn.running_mean, model.count):
        buffer.fill_(rank + 1)
    return SimpleNamespace(model=model, hooks=[], val_loop=None)


def save_and_load(rank, folder):
    use_loopback()
    torch.distributed.init_process_group(
        'gloo', f'file://{folder}/meeting', timedelta(seconds=60), rank=rank, world_size=PROCESSES
    )
    runner = runner_of(rank)
    saved = save_progress(runner, Progress(batch=3))
    torch.save(saved['processes'], f'{folder}/rank_{rank}.pth')
    if rank == 0:
        torch.save((saved, runner.model.state_dict()), f'{folder}/checkpoint.pth')
    torch.distributed.barrier()

    saved, weights = torch.load(f'{folder}/checkpoint.pth')
    resumed = runner_of(7)
    resumed.model.load_state_dict(weights)
    progress, _ = load_progress(resumed, saved)
    assert progress.batch == 3
    for (name, before), (_, after) in zip(runner.model.named_buffers(), resumed.model.named_buffers(), strict=True):
        assert torch.equal(before, after), name
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_send_what_is_not_saved_yet_to_the_one_that_writes(tmp_path):
    spawn(save_and_load, (str(tmp_path),), PROCESSES)
    (first, second), nothing = (torch.load(tmp_path / f'rank_{rank}.pth') for rank in range(PROCESSES))

    assert nothing is None
    # the others of its buffers are in the state_dict of the checkpoint
    assert list(first['buffers']) == ['count']
    assert second['buffers']['count'] == 2
    assert second['buffers']['bn.running_mean'].tolist() == [2] * 4
