"""mmrazor's algorithm for a config of ours."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from toy import ToyClassifier, algorithm_config, toy_batch

from kd_plugins.errors import UserError

pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
from kd_plugins.compat.mmrazor_twin import build_mmrazor_twin


def ours(logit_connector=None):
    config = algorithm_config()
    if logit_connector:
        config['distiller']['connectors']['logits'] = logit_connector
        config['distiller']['loss_forward_mappings']['loss_logits']['preds_S']['connector'] = 'logits'
    return MODELS.build(ConfigDict(type='kd_plugins.SingleTeacherDistill', **config))


def test_the_same_losses_from_its_own_classes():
    mine = ours().train()
    student, teacher = ToyClassifier(4), ToyClassifier(6)
    student.load_state_dict(mine.student.state_dict())
    teacher.load_state_dict(mine.teacher.state_dict())
    twin = build_mmrazor_twin(student, teacher, mine.distiller.spec)
    assert type(twin).__module__.startswith('mmrazor.')
    assert all(type(loss).__module__.startswith('mmrazor.') for loss in twin.distiller.distill_losses.values())
    assert all(type(part).__module__.startswith('mmrazor.') for part in twin.distiller.connectors.values())
    twin.distiller.connectors.load_state_dict(mine.distiller.connectors.state_dict())
    twin.train()
    for model in (mine, twin):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()
    expected, found = (model(**toy_batch(), mode='loss') for model in (mine, twin))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-5), name


def test_what_it_has_not_is_told():
    spec = ours(dict(type='LinearConnector', in_channel=3, out_channel=3)).distiller.spec
    with pytest.raises(UserError, match='LinearConnector') as caught:
        build_mmrazor_twin(ToyClassifier(4), ToyClassifier(6), spec)
    assert caught.value.faults[0].where == 'mmrazor'
    assert caught.value.faults[0].advice == 'leave mmrazor out'
