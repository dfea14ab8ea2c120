import math

import pytest
import torch
import torch.distributed
from processes import spawn

from kd_plugins.engine.distributed import use_loopback
from kd_plugins.losses import InformationEntropyLoss

PROCESSES = 2


@pytest.mark.parametrize(
    ('logits', 'expected'),
    [
        # (1/2, 1/2): log10 of 1/2
        ([[0.0, 0.0]], -math.log10(2)),
        # each image of a class of its own: the mean is (1/2, 1/2) again
        ([[1e4, 0.0], [0.0, 1e4]], -math.log10(2)),
        # all of one class
        ([[1e4, 0.0], [1e4, 0.0]], 0.0),
        # (3/4, 1/4)
        ([[math.log(3), 0.0]], 0.75 * math.log10(0.75) + 0.25 * math.log10(0.25)),
        # the mean of (3/4, 1/4) and (1/4, 3/4)
        ([[math.log(3), 0.0], [0.0, math.log(3)]], -math.log10(2)),
    ],
)
def test_numbers_worked_out_by_hand(logits, expected):
    assert InformationEntropyLoss()(torch.tensor(logits)).item() == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert InformationEntropyLoss(loss_weight=5)(torch.tensor(logits)).item() == pytest.approx(
        5 * expected, rel=1e-5, abs=1e-6
    )


def test_a_class_that_is_ruled_out_adds_nothing():
    logits = torch.tensor([[0.0, 0.0, -math.inf], [0.0, 1.0, -math.inf]], requires_grad=True)
    loss = InformationEntropyLoss()(logits)
    loss.backward()
    assert loss.item() == pytest.approx(InformationEntropyLoss()(logits[:, :2]).item())
    assert logits.grad.isfinite().all()


def test_equals_a_slow_loop():
    logits = torch.randn(4, 5, dtype=torch.float64) * 3
    means = [sum(row[c] for row in logits.softmax(1).tolist()) / 4 for c in range(5)]
    expected = sum(mean * math.log10(mean) for mean in means)
    assert InformationEntropyLoss()(logits).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('gather', [True, False])
def test_gradient(gather):
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(InformationEntropyLoss(gather), logits)


def test_balanced_classes_have_no_gradient():
    logits = torch.zeros(2, 4, requires_grad=True)
    InformationEntropyLoss()(logits).backward()
    assert logits.grad.abs().max() < 1e-7


def of_all_processes(folder):
    """Logits of both batches, the loss, and its gradient."""
    logits = torch.load(folder / 'logits.pt').requires_grad_()
    loss = InformationEntropyLoss(loss_weight=5)(logits)
    loss.backward()
    return logits, loss.detach(), logits.grad


def compute(rank, folder):
    use_loopback()
    torch.distributed.init_process_group('gloo', f'file://{folder}/meeting', rank=rank, world_size=PROCESSES)
    try:
        logits = torch.load(folder / 'logits.pt').chunk(PROCESSES)[rank].clone().requires_grad_()
        found = {}
        for gather in (True, False):
            logits.grad = None
            loss = InformationEntropyLoss(gather=gather, loss_weight=5)(logits)
            loss.backward()
            found[gather] = (loss.detach(), logits.grad)
        torch.save(found, folder / f'{rank}.pt')
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_measure_one_batch(tmp_path):
    torch.save(torch.randn(6, 5, dtype=torch.float64) * 2, tmp_path / 'logits.pt')
    spawn(compute, (tmp_path,), PROCESSES)
    logits, loss, gradient = of_all_processes(tmp_path)
    for rank in range(PROCESSES):
        found = torch.load(tmp_path / f'{rank}.pt')
        assert torch.allclose(found[True][0], loss)
        # both processes' losses are the whole batch's; DDP takes the mean of what each sends on
        assert torch.allclose(found[True][1] / PROCESSES, gradient.chunk(PROCESSES)[rank])
        own = logits.detach().chunk(PROCESSES)[rank].clone().requires_grad_()
        alone = InformationEntropyLoss(loss_weight=5)(own)
        alone.backward()
        assert torch.allclose(found[False][0], alone)
        assert torch.allclose(found[False][1], own.grad)
