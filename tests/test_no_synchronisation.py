"""A step of every digits config asks the device for nothing: on a GPU, Python never waits for a number.

Run on the CPU, under a mode that sees every operation, backward included.
"""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import DefaultScope
from test_configs import leave_out_checkpoints
from torch.utils._python_dispatch import TorchDispatchMode

from kd_plugins.algorithms.data_free_distillation import DataFreeDistillation
from kd_plugins.engine.config import load_config
from kd_plugins.preflight import build_from_config
from kd_plugins.preflight.probe import probe_batches

ROOT = Path(__file__).parents[1]
QUICKSTART = sorted((ROOT / 'configs/quickstart').rglob('*_vgg_cnn_digits.py')) + [
    ROOT / 'configs/quickstart/fitnets_resnet50_resnet18_digits.py'
]
aten = torch.ops.aten
# operations whose result, or its size, Python needs
WAITING = {aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.nonzero, aten.nonzero_numpy, aten.masked_select}
WAITING |= {aten._unique, aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.equal, aten.allclose}
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
# who may wait, as it is about the CPU or outside of the step
ALLOWED = {
    ('kd_plugins/losses/labels.py', 'class_indices'): 'labels are looked at on the CPU alone',
    ('kd_plugins/losses/crd_loss.py', '_indices'): 'indices of samples are looked at on the CPU alone',
    (
        'mmengine/model/base_model/base_model.py',
        'parse_losses',
    ): 'mmengine reduces the values of the log over processes',
}


class Watched(TorchDispatchMode):
    """Notes the operations that a GPU would have to be waited for, each with the line that asks."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        packet = func.overloadpacket
        masks = packet in INDEXED and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if packet in WAITING or masks:
            who = asking(sys._getframe())
            if who is not None:
                self.found.append(f'{func} in {who}')
        return func(*args, **(kwargs or {}))


def asking(frame):
    """The innermost line of this package or of OpenMMLab that waits; None where it may."""
    innermost = None
    while frame is not None:
        path = frame.f_code.co_filename
        for (allowed, function), _ in ALLOWED.items():
            if path.endswith(allowed) and frame.f_code.co_name == function:
                return None
        if innermost is None and not path.startswith(str(ROOT / 'tests')) and '/torch/' not in path:
            innermost = f'{path}:{frame.f_lineno}'
        frame = frame.f_back
    return innermost


def waits(run):
    with Watched() as watched:
        run()
    assert watched.seen > 0
    return watched.found


def step(model, batch):
    """What makes the gradients; of data-free distillation the whole step, as it takes two."""
    if isinstance(model, DataFreeDistillation):
        parts = ('architecture', 'generator')
        optimisers = {name: torch.optim.SGD(model.get_submodule(name).parameters(), lr=0.01) for name in parts}
        model.train_step(batch, OptimWrapperDict(**{name: OptimWrapper(part) for name, part in optimisers.items()}))
    else:
        model.parse_losses(model(**batch, mode='loss'))[0].backward()


@pytest.mark.parametrize('path', QUICKSTART, ids=lambda path: path.stem)
def test_a_step_waits_for_nothing(path):
    config = load_config(path)
    leave_out_checkpoints(config.model)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = build_from_config(config).train()
        batch = [found.data for found in probe_batches(config)][-1]
    if not isinstance(model, DataFreeDistillation):
        batch = model.data_preprocessor(batch, True)
    # the first step may prepare something
    step(model, batch)
    assert waits(lambda: step(model, batch)) == []


@pytest.mark.parametrize(
    'wait',
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
        lambda x: torch.equal(x, x),
        lambda x: [1 for number in x if number > 0],
        lambda x: x.index_put((x > 0,), torch.zeros(())),
        lambda x: range(int(x[0])),
    ],
)
def test_waiting_is_seen(wait):
    assert waits(lambda: wait(torch.tensor([1.0, -1.0, 2.0])))


@pytest.mark.parametrize(
    'work', [lambda x: torch.where(x > 0, x, 0), lambda x: x[torch.tensor([0, 1])], lambda x: x.masked_fill(x > 0, 0)]
)
def test_other_work_is_not(work):
    assert not waits(lambda: work(torch.tensor([1.0, -1.0, 2.0])))
