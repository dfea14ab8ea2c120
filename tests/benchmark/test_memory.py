"""Tensor memory of a step, against steps whose peak is worked out by hand."""

import pytest
import torch

from kd_plugins.benchmark.memory import allocations_of, peak_of_step, resident_bytes
from kd_plugins.engine.allocator import keep_freed_memory


def test_every_allocation_and_release_is_seen():
    ones = torch.ones(1000)

    def step():
        doubled = torch.add(ones, ones)  # + 4000
        more = torch.add(doubled, doubled)  # + 4000
        del doubled  # - 4000
        joined = torch.cat([more, more])  # + 8000
        del more, joined  # - 4000 - 8000

    assert allocations_of(step) == [4000, 4000, -4000, 8000, -4000, -8000]
    # 4000 of more and 8000 of joined
    assert peak_of_step(step) == 12000


def test_a_temporary_counts_though_it_is_gone_at_the_end():
    ones = torch.ones(250_000)

    def step():
        torch.add(ones, ones)  # 1 MB, at once released
        torch.add(ones[:10], ones[:10])  # 40 B

    assert peak_of_step(step) == 1_000_000


def test_forward_and_backward_of_a_linear_layer():
    torch.manual_seed(0)
    layer = torch.nn.Linear(1000, 500, bias=False)
    images = torch.randn(64, 1000)
    gradient = torch.ones(64, 500)

    def step():
        output = layer(images)  # 64 * 500 * 4 = 128,000 B, kept until the end
        output.backward(gradient)  # weights' gradient: 500 * 1000 * 4 = 2,000,000 B
        layer.weight.grad = None

    assert peak_of_step(step) == 2_128_000


def test_memory_from_before_the_step_is_not_counted():
    kept = [torch.ones(1_000_000)]

    def step():
        torch.add(kept[0][:1000], 0.0, out=torch.empty(1000))
        kept.clear()

    # 4000 B and the scalar
    assert 4000 <= peak_of_step(step) < 4100


def test_memory_of_the_process_grows_with_it():
    # what earlier tests left free is no growth
    keep_freed_memory(False)
    before = resident_bytes()
    block = torch.ones(20_000_000)  # 80 MB, each page written
    grown = resident_bytes() - before
    assert grown > 60e6
    assert grown == pytest.approx(block.numel() * 4, rel=0.25)
