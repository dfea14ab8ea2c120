"""Every shipped config builds and trains a step, and says at its top what it is for."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from kd_plugins.engine.config import load_config
from kd_plugins.preflight import build_from_config
from kd_plugins.preflight.parts import part_faults
from kd_plugins.preflight.probe import probe_batch
from kd_plugins.preflight.types import type_faults

CONFIGS = Path(__file__).parents[1] / 'configs'
RUNNABLE = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


def test_none_is_missing():
    names = {path.relative_to(CONFIGS).as_posix() for path in RUNNABLE}
    assert names >= {
        'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py',
        'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb16_cifar10.py',
        'kd/kd_logits_resnet34_resnet18_8xb32_in1k.py',
        'kd/kd_logits_resnet34_resnet18_8xb16_cifar10.py',
        'quickstart/fitnets_resnet50_resnet18_digits.py',
        'quickstart/kd_vgg_cnn_digits.py',
    }


@pytest.mark.parametrize('path', RUNNABLE, ids=lambda path: path.stem)
def test_builds_and_trains_a_step(path):
    config = load_config(path)
    assert [fault for part in ('train', 'val', 'test') for fault in part_faults(config, part)] == []
    assert type_faults(config, config.default_scope) == []
    if 'teacher' in config.model:
        config.model.teacher_ckpt = None
        config.model.teacher.pretrained = False
        if 'cfg_path' not in config.model.teacher:
            del config.model.teacher.pretrained
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = build_from_config(config).train()
        batch = probe_batch(config)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    before = [parameter.detach().clone() for parameter in model.parameters()]

    loss, log = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    loss.backward()
    optimiser.step()

    assert torch.isfinite(loss)
    assert all(torch.isfinite(value).all() for value in log.values())
    moved = [not torch.equal(new, old) for new, old in zip(model.parameters(), before, strict=True)]
    assert sum(moved) > 0.9 * len(moved)


@pytest.mark.parametrize('path', RUNNABLE, ids=lambda path: path.stem)
def test_says_what_it_is_for(path):
    lines = path.read_text().splitlines()
    header = '\n'.join(lines[: next(index for index, line in enumerate(lines) if not line.startswith('#'))])
    for part in ('Needs:', 'Launch:', 'Result:', path.relative_to(CONFIGS.parent).as_posix()):
        assert part in header
