"""Stages are found by running a backbone, in CNNs and in transformers, and paired by resolution."""

import pytest

from kd_plugins.preflight.modules import ModuleRow
from kd_plugins.scaffold.libraries import LIBRARIES
from kd_plugins.scaffold.models import find_model, trace
from kd_plugins.scaffold.stages import (
    Source,
    Stage,
    find_class_maps,
    find_levels,
    find_logits,
    find_stages,
    pair_stages,
)

IMAGE = (64, 64)
CLASSES = 1000

# what each stage gives at strides 8, 16 and 32, at the side of the images with which the family is run
FAMILIES = {
    'resnet18_8xb32_in1k': (64, 'layer2 128x8x8', 'layer3 256x4x4', 'layer4 512x2x2'),
    'vgg11bn_8xb32_in1k': (224, 'features.8 512x28x28', 'features.11 512x14x14', 'features.12 512x7x7'),
    'mobilenet-v2_8xb32_in1k': (64, 'layer3 32x8x8', 'layer5 96x4x4', 'conv2 1280x2x2'),
    'mobilenet-v3-small_8xb128_in1k': (64, 'layer3 24x8x8', 'layer8 48x4x4', 'layer12 576x2x2'),
    'shufflenet-v2-1x_16xb64_in1k': (64, 'layers.0 116x8x8', 'layers.1 232x4x4', 'layers.3 1024x2x2'),
    'regnetx-400mf_8xb128_in1k': (64, 'layer2 64x8x8', 'layer3 160x4x4', 'layer4 384x2x2'),
    'convnext-tiny_32xb128_in1k': (64, 'stages.1 192x8x8', 'stages.2 384x4x4', 'stages.3 768x2x2'),
    'efficientnet-b0_8xb32_in1k': (64, 'layers.3 40x8x8', 'layers.4 112x4x4', 'layers.6 1280x2x2'),
    'swin-tiny_16xb64_in1k': (224, 'stages.1 784x192 [0]', 'stages.2 196x384 [0]', 'stages.3 49x768 [0]'),
}
LOGITS = {
    'vgg11bn_8xb32_in1k': 'head',
    'mobilenet-v3-small_8xb128_in1k': 'head.layers.1.fc',
    'deit-tiny_4xb256_in1k': 'head.layers.head',
    'deit-tiny-distilled_4xb256_in1k': 'head',
}


def rows_of(name, side):
    return trace(find_model(name, '--student', LIBRARIES['mmpretrain']), {}, (side, side))


def describe(stage):
    shape = 'x'.join(map(str, stage.source.shape[1:]))
    element = '' if stage.source.data_idx is None else f' [{stage.source.data_idx}]'
    return f'{stage.source.path.removeprefix("backbone.")} {shape}{element}'


def listing(*modules):
    """Rows of modules that were called one after the other: name, kind, outputs."""
    calls = iter(range(100))
    return [
        ModuleRow(name, kind, tuple(outputs), tuple(next(calls) for _ in outputs)) for name, kind, *outputs in modules
    ]


def stage(stride, path='backbone.layer'):
    return Stage(stride, Source(path, (2, 8, 64 // stride, 64 // stride)))


@pytest.mark.parametrize('name', FAMILIES)
def test_families(name):
    side, *expected = FAMILIES[name]
    rows = rows_of(name, side)
    stages = find_stages(rows, (side, side))
    assert [stage.stride for stage in stages][-3:] == [8, 16, 32]
    assert [describe(stage) for stage in stages[-3:]] == expected
    assert all(stage.source.record_idx is None for stage in stages)
    assert find_logits(rows, CLASSES).path == LOGITS.get(name, 'head.fc')


@pytest.mark.parametrize(
    ('name', 'tokens'), [('deit-tiny_4xb256_in1k', 1 + 14 * 14), ('deit-tiny-distilled_4xb256_in1k', 2 + 14 * 14)]
)
def test_transformers_of_one_resolution(name, tokens):
    rows = rows_of(name, 224)
    assert find_stages(rows, (224, 224)) == [Stage(16, Source('backbone.layers.11', (2, tokens, 192)))]
    assert find_logits(rows, CLASSES).path == LOGITS[name]


def test_a_step_inside_a_block_of_another_resolution_is_no_stage():
    rows = listing(
        ('backbone.layer1', 'Layer', (2, 8, 16, 16)),
        ('backbone.layer2.conv1', 'Conv2d', (2, 16, 16, 16)),
        ('backbone.layer2.squeeze', 'Conv2d', (2, 16, 1, 1)),
        ('backbone.layer2.attention', 'Softmax', (2, 4, 32, 32)),
        ('backbone.layer2', 'Layer', (2, 16, 8, 8)),
    )
    assert [(found.stride, found.source.path) for found in find_stages(rows, IMAGE)] == [
        (4, 'backbone.layer1'),
        (8, 'backbone.layer2'),
    ]


@pytest.mark.parametrize('kind', ['LayerNorm', 'BatchNorm2d', 'LayerNorm2d', 'Identity', 'Dropout'])
def test_what_only_rescales_or_passes_on_is_left_out(kind):
    rows = listing(
        ('backbone.layers.0', 'Block', (2, 17, 8)),
        ('backbone.layers.1', 'Block', (2, 17, 8)),
        ('backbone.last', kind, (2, 17, 8)),
    )
    assert [found.source.path for found in find_stages(rows, IMAGE)] == ['backbone.layers.1']


@pytest.mark.parametrize(
    'shape',
    [
        (2, 8, 1, 1),
        (2, 8, 16, 4),
        (2, 16, 16, 8),
        (2, 8),
        (2,),
        (8, 49, 8),
        (2, 19, 8),
        (2, 1, 8),
        (2, 2, 8),
        (2, 8, 4, 4, 4),
        'int',
        {'map': (2, 8, 4, 4)},
    ],
)
def test_other_shapes_are_no_features(shape):
    rows = listing(('backbone.conv', 'Conv2d', (2, 8, 32, 32)), ('backbone.layer', 'Layer', shape))
    assert [found.stride for found in find_stages(rows, IMAGE)] == [2]


@pytest.mark.parametrize(
    ('shape', 'image', 'stride'),
    [
        ((2, 8, 2, 2), (64, 64), 32),
        ((2, 8, 7, 7), (224, 224), 32),
        ((2, 8, 8, 8), (240, 240), 32),
        ((2, 8, 16, 16), (224, 224), 16),
        ((2, 8, 10, 7), (320, 224), 32),
        ((2, 49, 8), (224, 224), 32),
        ((2, 50, 8), (224, 224), 32),
        ((2, 198, 8), (224, 224), 16),
    ],
)
def test_strides_are_rounded_to_powers_of_two(shape, image, stride):
    rows = listing(('backbone.layer', 'Layer', shape))
    assert [found.stride for found in find_stages(rows, image)] == [stride]


def test_names_the_call_and_the_element_where_there_are_several():
    rows = listing(
        ('backbone.relu', 'ReLU', (2, 8, 8, 8), (2, 8, 4, 4)),
        ('backbone.branches', 'Layer', [(2, 8, 16, 16), (2, 16, 2, 2)]),
    )
    found = {stage.stride: stage.source for stage in find_stages(rows, IMAGE)}
    assert found[8].config == dict(source='backbone.relu', record_idx=0)
    assert found[16].config == dict(source='backbone.relu', record_idx=1)
    assert found[4].config == dict(source='backbone.branches', data_idx=0)
    assert found[32].config == dict(source='backbone.branches', data_idx=1)
    assert Source('backbone.layer', (2, 8, 4, 4)).config == 'backbone.layer'


def test_only_the_backbone_has_stages():
    rows = listing(('backbone', 'ResNet', [(2, 8, 4, 4)]), ('neck.conv', 'Conv2d', (2, 8, 2, 2)))
    assert find_stages(rows, IMAGE) == []


def test_pairs_the_lowest_common_resolutions():
    student, teacher = [stage(4), stage(8), stage(16), stage(32)], [stage(2), stage(8), stage(16), stage(32)]
    strides = [(own.stride, theirs.stride) for own, theirs in pair_stages(student, teacher)]
    assert strides == [(16, 16), (32, 32)]
    assert [own.stride for own, _ in pair_stages(student, teacher, most=5)] == [8, 16, 32]
    assert pair_stages(student, [stage(16)]) == [(stage(16), stage(16))]


def test_pairs_the_closest_where_none_is_common():
    assert pair_stages([stage(4), stage(8)], [stage(16), stage(32)]) == [(stage(8), stage(16))]
    # 8 to 16 and 32 to 16 are equally far
    assert pair_stages([stage(8), stage(32)], [stage(16)]) == [(stage(32), stage(16))]
    assert pair_stages([], [stage(16)]) == pair_stages([stage(16)], []) == []


def test_logits_of_heads():
    scores = (2, CLASSES)
    linear = listing(('backbone', 'Net', [(2, 8)]), ('head.fc', 'Linear', scores), ('head', 'LinearClsHead', scores))
    assert find_logits(linear, CLASSES) == Source('head.fc', scores)
    nested = listing(
        ('head.block.fc', 'Linear', scores),
        ('head.block', 'Block', scores),
        ('head', 'Head', scores),
    )
    assert find_logits(nested, CLASSES) == Source('head.block.fc', scores)
    averaged = listing(('head.a', 'Linear', scores), ('head.b', 'Linear', scores), ('head', 'Head', scores))
    assert find_logits(averaged, CLASSES) == Source('head', scores)
    plain = listing(('backbone.fc', 'Linear', scores), ('head', 'ClsHead', scores))
    assert find_logits(plain, CLASSES) == Source('head', scores)
    functional = listing(('backbone', 'Net', [(2, 8)]), ('head.norm', 'LayerNorm', (2, 8)))
    assert find_logits(functional, CLASSES) is None
    assert find_logits(linear, 10) is None


def test_levels_of_a_pyramid():
    maps = [(2, 8, 16, 16), (2, 8, 8, 8), (2, 8, 8, 8), (2, 8, 1, 1)]
    rows = listing(
        ('backbone.layer', 'Layer', (2, 8, 32, 32)), ('neck.convs.0', 'Conv', (2, 8, 4, 4)), ('neck', 'FPN', maps)
    )
    found = find_levels(rows, IMAGE)
    assert [(stage.stride, stage.source.config) for stage in found] == [
        (4, dict(source='neck', data_idx=0)),
        (8, dict(source='neck', data_idx=1)),
    ]
    assert find_levels(rows[:1], IMAGE) == []


def test_class_maps_are_those_of_the_last_head():
    maps = (2, 19, 8, 8)
    names = ['auxiliary_head.conv_seg', 'decode_head.0.conv_seg', 'decode_head.1.conv_seg', 'decode_head.1.fuse']
    rows = listing(*((name, 'Conv2d', maps) for name in names))
    assert find_class_maps(rows) == Source('decode_head.1.conv_seg', maps)
    assert find_class_maps(rows[:1]) is None
    twice = listing(('decode_head.conv_seg', 'Conv2d', maps, maps))
    assert find_class_maps(twice).record_idx == 1


def test_steps_towards_a_single_position_are_no_stage():
    # the last stage of a ResNet gives single positions at 32 px; the first block of it still computes at 2x2
    rows = rows_of('resnet18_8xb32_in1k', 32)
    stages = find_stages(rows, (32, 32))
    assert [(stage.stride, stage.source.path) for stage in stages][-2:] == [
        (8, 'backbone.layer2'),
        (16, 'backbone.layer3'),
    ]
