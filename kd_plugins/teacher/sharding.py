"""A frozen teacher that is too large for one device: each process holds its share of the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
import torch.distributed
from torch import nn

# the largest part of a model that is gathered at a time, unless one layer is larger
LARGEST = 1 / 8
# these need not be called, their elements are; MultiheadAttention takes the weights of its layers without calling them
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
ATOMS = (nn.MultiheadAttention,)


def can_shard() -> bool:
    """Whether there are other processes to share with."""
    return torch.distributed.is_available() and torch.distributed.is_initialized() and _processes() > 1


def shard(model: nn.Module) -> None:
    """Give each process its share of a frozen model's weights, with PyTorch's FSDP2; to be called by all of them.

    In a forward the weights of a block are gathered, and freed after it, so all processes have to run the model equally
    often. Modules keep their names and hooks. Buffers stay whole in each process, and the weights of
    ``model.state_dict()`` are ``DTensor``. The model goes to the device of this process, block by block.

    Args:
        model: The model, with its final weights, the same in each process. It is called as a whole, and its parts are.
    """
    # a second to import, for those who need it
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh('cuda' if torch.cuda.is_available() else 'cpu', (_processes(),))
    for block in [*blocks(model), model]:
        fully_shard(block, mesh=mesh, reshard_after_forward=True)


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The parts of a model that are gathered each by itself: what holds layers and is small enough, and other layers.

    What only holds such parts is none: its forward need not be all that calls them.

    Args:
        model: The model.
    """
    uses = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    most = _size(model) * LARGEST

    def within(module: nn.Module) -> Iterator[nn.Module]:
        for child in module.children():
            inner = [part for part in child.children() if _size(part)]
            small = _size(child) <= most and any(part._parameters for part in inner)
            # weights that two modules share have to be gathered together
            own = all(uses[id(weight)] == 1 for weight in child.parameters())
            if own and not isinstance(child, CONTAINERS) and (small or not inner or isinstance(child, ATOMS)):
                if _size(child):
                    yield child
            elif not isinstance(child, ATOMS):
                yield from within(child)

    return within(model)


def _size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _processes() -> int:
    return torch.distributed.get_world_size()
