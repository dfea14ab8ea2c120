"""What a hand-written loop has to compute, read from distillers."""

import copy
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from kd_plugins.benchmark.arm import LeftOut
from kd_plugins.benchmark.recipe import LogitTerm, read_recipe
from kd_plugins.benchmark.setting import Setting
from kd_plugins.benchmark.workload import Workload
from kd_plugins.preflight import build_from_config

CONFIGS = Path(__file__).parents[2] / 'configs'
METHODS = CONFIGS / 'quickstart/methods'


def test_logits(digits):
    recipe = read_recipe(digits.algorithm())
    assert recipe.logits == (LogitTerm('head.fc', 'head.fc', tau=4, reduction='batchmean', weight=1.0),)
    assert recipe.hints == ()


@pytest.mark.slow
def test_hints(hints):
    recipe = read_recipe(hints.algorithm())
    assert recipe.logits == (LogitTerm('head.fc', 'head.fc', tau=6, reduction='mean', weight=10),)
    by_source = {hint.student: hint for hint in recipe.hints}
    assert {(hint.student, hint.teacher, hint.weight) for hint in recipe.hints} == {
        ('backbone.layer4', 'backbone.layer4', 10),
        ('backbone.layer3', 'backbone.layer3', 10),
    }
    # a 1x1 convolution from the student's channels to the teacher's, BatchNorm and ReLU
    layers = by_source['backbone.layer4'].regressor
    assert [type(layer).__name__ for layer in layers] == ['Conv2d', 'BatchNorm2d', 'ReLU']
    assert tuple(layers[0].weight.shape) == (2048, 512, 1, 1)


@pytest.mark.slow
def test_regressors_are_copies(hints):
    algorithm = hints.algorithm()
    recipe = read_recipe(algorithm)
    recipe.hints[0].regressor[0].weight.data.zero_()
    assert all(weight.abs().sum() > 0 for name, weight in algorithm.named_parameters() if name.endswith('conv.weight'))


@pytest.mark.parametrize(
    ('method', 'reason'),
    [
        ('dkd_vgg_cnn_digits', 'not for this DKDLoss'),
        ('at_vgg_cnn_digits', 'not for this ATLoss'),
        ('fitnets_vgg_cnn_digits', 'not for this L2Loss'),
        ('multi_teacher_vgg_cnn_digits', 'one frozen teacher'),
        ('byot_vgg_cnn_digits', 'one frozen teacher'),
        ('dfad_vgg_cnn_digits', 'one frozen teacher'),
    ],
)
def test_left_out_with_the_reason(method, reason):
    algorithm = Workload(str(METHODS / f'{method}.py'), Setting(batch=2, size=8)).algorithm()
    with pytest.raises(LeftOut, match=reason):
        read_recipe(algorithm)


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        ({'calculate_student_loss': False}, 'learns from its own loss'),
        ({'student_trainable': False}, 'learns from its own loss'),
        ({'teacher_trainable': True}, 'one frozen teacher'),
        ({'architecture.head.loss': dict(type='LabelSmoothLoss', label_smooth_val=0.1)}, 'plain cross entropy'),
        ({'distiller.distill_losses.loss_kl.reduction': 'none'}, 'not for this KLDivergence'),
        ({'distiller.distill_losses.loss_kl.teacher_detach': False}, 'not for this KLDivergence'),
    ],
)
def test_variants_that_a_plain_loop_does_not_have(digits, options, reason):
    config = copy.deepcopy(digits.config)
    config.merge_from_dict({f'model.{key}': value for key, value in options.items()})
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        algorithm = build_from_config(config)
    with pytest.raises(LeftOut, match=reason):
        read_recipe(algorithm)
