"""mmpretrain's learning rates by depth: a student has them in a distillation as it has them alone."""

import copy

import pytest
import torch
import torch.distributed
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from toy import TEACHER_CHANNELS, distiller_config

from kd_plugins.algorithms import SingleTeacherDistill

RATE = 0.75
LR = 1e-3
WRAPPER = dict(
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=RATE, norm_decay_mult=0.0, flat_decay_mult=0.0, custom_keys={'.cls_token': dict(decay_mult=0)}
    ),
    optimizer=dict(type='AdamW', lr=LR, weight_decay=0.05),
)
STUDENTS = dict(
    vit=dict(
        type='ImageClassifier',
        backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=32, patch_size=16),
        head=dict(type='VisionTransformerClsHead', num_classes=3, in_channels=192),
    ),
    convnext=dict(
        type='ImageClassifier',
        backbone=dict(type='ConvNeXt', arch='atto', drop_path_rate=0.1),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=320),
    ),
)
SOURCES = dict(vit=('backbone.patch_embed', 'head.layers.head'), convnext=('backbone.stages.3', 'head.fc'))


@pytest.fixture(params=STUDENTS)
def student(request):
    return request.param


def algorithm(student, **kwargs):
    distiller = distiller_config()
    feature, logits = SOURCES[student]
    distiller['student_recorders']['feature']['source'] = feature
    distiller['student_recorders']['logits']['source'] = logits
    distiller['loss_forward_mappings']['loss_feature']['s_feature'].pop('record_idx')
    return SingleTeacherDistill(
        architecture=copy.deepcopy(STUDENTS[student]),
        teacher=dict(type='ToyClassifier', channels=TEACHER_CHANNELS),
        distiller=distiller,
        **kwargs,
    )


def settings(model):
    """Learning rate, share of it, depth and weight decay of every trained parameter by name."""
    wrapper = build_optim_wrapper(model, copy.deepcopy(WRAPPER))
    keys = ('lr', 'lr_scale', 'layer_id', 'weight_decay')
    return {group['param_name']: tuple(group[key] for key in keys) for group in wrapper.optimizer.param_groups}


@pytest.fixture
def alone(student):
    with DefaultScope.overwrite_default_scope('mmpretrain'), MODELS.switch_scope_and_registry('mmpretrain') as models:
        return settings(models.build(copy.deepcopy(STUDENTS[student])))


@pytest.mark.parametrize('learns', [False, True])
def test_as_in_the_student_alone(student, alone, learns):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = algorithm(student, teacher_trainable=learns)
        found = settings(model)
    prefix = 'architecture.'
    own = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    assert own == alone
    assert len({lr for lr, *_ in own.values()}) > 5
    others = {name: value for name, value in found.items() if not name.startswith(prefix)}
    assert {name.partition('.')[0] for name in others} == {'distiller', *(['teacher'] if learns else [])}
    last = max(depth for _, _, depth, _ in alone.values())
    assert {value[:3] for value in others.values()} == {(LR, 1.0, last)}
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert sorted(trained) == sorted(found)


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_under_distributed_data_parallel(student, process_group):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = algorithm(student)
        assert settings(MMDistributedDataParallel(model)) == settings(model)


def test_names_with_a_prefix(student):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = algorithm(student)
    name = next(name for name, _ in model.named_parameters() if name.startswith('architecture.backbone'))
    assert model.get_layer_depth(f'outer.{name}', 'outer.') == model.get_layer_depth(name)
    assert model.get_layer_depth(name)[0] == 0
