"""A quantised student in a distillation: what is recorded of it, and that its recorders, scales and weights learn."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from kd_plugins.engine.config import load_config
from kd_plugins.preflight import build_from_config
from kd_plugins.preflight.probe import probe_batches

CONFIGS = Path(__file__).parents[3] / 'configs/quantized'
LOGITS = 'head.fc'
STAGE = 'backbone.stages.0'


@pytest.fixture
def trained_step():
    """An algorithm after the backward of one step, with a loss on logits and one on feature maps."""
    config = load_config(CONFIGS / 'labels_and_soft_targets_vgg_quantized_cnn_digits.py')
    config.model.teacher_ckpt = None
    config.model.distiller.distill_losses.loss_features = dict(
        type='L2Loss', student=STAGE, teacher=STAGE, connector=dict(type='kd_plugins.ConvModuleConnector')
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        algorithm = build_from_config(config).train()
        (batch,) = (batch.data for batch in probe_batches(config))
    seen = {}
    for name in (STAGE, LOGITS):
        module = algorithm.student.get_submodule(name)
        module.register_forward_hook(lambda _, args, out, name=name: seen.update({name: out}))
    loss, log = algorithm.parse_losses(algorithm(**algorithm.data_preprocessor(batch, True), mode='loss'))
    loss.backward()
    return algorithm, log, seen


def test_records_are_plain_tensors_of_few_levels(trained_step):
    _, log, seen = trained_step
    assert all(type(record) is torch.Tensor for record in seen.values())
    assert len(seen[STAGE].unique()) <= 16
    assert all(torch.isfinite(value) and value > 0 for name, value in log.items() if 'loss' in name)
    assert sum('distill' in name for name in log) == 2


def test_every_part_of_the_student_gets_a_gradient(trained_step):
    algorithm, _, _ = trained_step
    gradients = {name: parameter.grad for name, parameter in algorithm.student.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.abs().sum() > 0] == []
    assert sum('scaling_impl' in name for name in gradients) == 5


@pytest.mark.parametrize('dataset', ['digits', 'svhn'])
def test_the_four_ways_differ_in_their_losses_alone(dataset):
    """The same student, schedule and data; tau is one key."""
    names = ['soft_targets_vgg', 'labels_and_soft_targets_vgg', 'labels_and_softened_labels', 'labels_only']
    configs = [load_config(CONFIGS / f'{name}_quantized_cnn_{dataset}.py') for name in names]
    for config in configs:
        student = config.model.get('architecture', config.model)
        taus = config.model.distiller.distill_losses.values() if 'distiller' in config.model else []
        assert sum('tau' in loss for loss in [*taus, student.head.pop('loss', {})]) == (config is not configs[3])
        assert student.to_dict() == configs[3].model.to_dict()
        for key in ('train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'test_dataloader'):
            assert config[key] == configs[3][key]
    soft, both, *_ = (config.model for config in configs)
    assert (soft.calculate_student_loss, both.calculate_student_loss) == (False, True)
    losses = [model.distiller.distill_losses.loss_soft.mult_tem_square for model in (soft, both)]
    assert losses == [False, True]
