"""Tensors go back to what they were, also where the module has put others in their place."""

import torch
from torch import nn

from kd_plugins.engine.kept_tensors import KeptTensors


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer('centre', torch.zeros(3))
        self.register_buffer('late', None)


def keep(module):
    kept = KeptTensors(lambda: dict(module.named_buffers()))
    kept.keep()
    return kept


def test_restores_what_was_kept_last():
    module = Counting()
    kept = keep(module)
    module.norm(torch.rand(4, 2))
    expected = {name: buffer.clone() for name, buffer in module.named_buffers()}
    kept.keep()
    module.norm(torch.full((4, 2), float('nan')))
    module.centre = module.centre + float('nan')
    module.late = torch.ones(1)

    kept.restore()

    assert module.norm.num_batches_tracked == 1
    assert all(torch.equal(buffer, expected[name]) for name, buffer in module.named_buffers() if name != 'late')
    assert module.late == 1


def test_a_buffer_of_another_shape_stays():
    module = Counting()
    kept = keep(module)
    module.centre = torch.ones(5)
    kept.restore()
    assert module.centre.sum() == 5
    kept.keep()
    module.centre.zero_()
    kept.restore()
    assert module.centre.sum() == 5


def test_nothing_to_keep():
    module = nn.Linear(2, 2)
    before = module.weight.clone()
    keep(module).restore()
    assert torch.equal(module.weight, before)
