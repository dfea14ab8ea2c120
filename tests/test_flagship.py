"""The FitNets config is the same distillation in the short form, as it is shipped, and in MMRazor's long form."""

import copy
from pathlib import Path

import pytest
import torch
from flagship import LONG_FORM
from mmengine.config import Config

from kd_plugins.engine.config import load_config, qualify_types
from kd_plugins.preflight import build_from_config

CONFIGS = Path(__file__).parents[1] / 'configs'
SHIPPED = (
    CONFIGS / '_base_' / 'fitnets_resnet50_resnet18.py',
    CONFIGS / 'fitnets' / 'fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py',
)


@pytest.fixture(scope='module')
def algorithms():
    """The short form and the long form, with the same weights."""
    short = load_config(SHIPPED[1])
    short.model.teacher_ckpt = None
    short.model.teacher.pretrained = False
    long = Config(dict(short.to_dict(), model=copy.deepcopy(LONG_FORM)))
    long.model.teacher.pretrained = False
    qualify_types(long)
    torch.manual_seed(0)
    ours, theirs = (build_from_config(config).train() for config in (short, long))
    theirs.architecture.load_state_dict(ours.architecture.state_dict())
    theirs.teacher.load_state_dict(ours.teacher.state_dict())
    connectors = {name.replace('_s_feature.', '_sfeat.'): value for name, value in ours.distiller.state_dict().items()}
    theirs.distiller.load_state_dict(connectors)
    return ours, theirs


def test_same_losses_to_the_bit(algorithms):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    from mmpretrain.structures import DataSample

    samples = [DataSample().set_gt_label(label) for label in (3, 141)]
    short, long = (algorithm(images, samples, mode='loss') for algorithm in algorithms)
    assert short.keys() == long.keys() == {'student.loss', 'distill.loss_kl', 'distill.loss_s3', 'distill.loss_s4'}
    assert all(value > 0 for value in short.values())
    assert all(torch.equal(short[name], long[name]) for name in short)


def test_the_short_form_is_short():
    lines = 0
    for path in SHIPPED:
        text = path.read_text()
        code = [line for line in text.splitlines() if line and not line.startswith('#')]
        start = next(index for index, line in enumerate(code) if line.startswith(('regressor =', 'model =')))
        end = next((index for index, line in enumerate(code) if line.startswith('val_cfg')), len(code))
        lines += end - start
    assert lines <= 25
