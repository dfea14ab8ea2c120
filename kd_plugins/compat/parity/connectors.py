"""Cases of the connectors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from typing import Any

import torch

from kd_plugins.compat.parity.case import Case, MakeInputs

BN = dict(type='BN')


def one(*shape: int) -> MakeInputs:
    """Maker of one random tensor."""

    def make(dtype: torch.dtype) -> tuple[Any, ...]:
        return (torch.randn(shape, dtype=torch.float64).to(dtype),)

    return make


def _cases(component: str, shapes: Sequence[tuple[int, ...]], options: Sequence[dict[str, Any]]) -> list[Case]:
    return [Case(component, one(*shape), arguments, label=str(shape)) for shape, arguments in product(shapes, options)]


CONV_MODULE_OPTIONS: list[dict[str, Any]] = [
    dict(),
    dict(kernel_size=3, stride=2, padding=1),
    dict(kernel_size=3, dilation=2, padding=2, groups=2),
    dict(bias=False),
    dict(bias=True, norm_cfg=BN),
    dict(conv_cfg=dict(type='Conv2d')),
    dict(norm_cfg=dict(type='GN', num_groups=2)),
    dict(act_cfg=None),
    dict(act_cfg=dict(type='LeakyReLU', negative_slope=0.3)),
    dict(inplace=False),
    dict(with_spectral_norm=True),
    dict(kernel_size=3, padding=1, padding_mode='reflect'),
    dict(kernel_size=3, padding=1, padding_mode='circular'),
    # in place, an activation that comes first would meet a leaf
    *(dict(norm_cfg=BN, inplace=False, order=order) for order in permutations(('conv', 'norm', 'act'))),
]
CONV_MODULE = _cases(
    'ConvModuleConnector',
    [(2, 4, 7, 7)],
    [dict(in_channel=4, out_channel=6, **options) for options in CONV_MODULE_OPTIONS],
)

TORCH_FUNCTIONAL = _cases(
    'TorchFunctionalConnector',
    [(2, 4, 8, 8), (1, 3, 4, 4)],
    [
        dict(function_name='adaptive_avg_pool2d', func_args=dict(output_size=2)),
        dict(function_name='adaptive_max_pool2d', func_args=dict(output_size=1)),
        dict(function_name='avg_pool2d', func_args=dict(kernel_size=4)),
        dict(function_name='max_pool2d', func_args=dict(kernel_size=2)),
        dict(function_name='dropout', func_args=dict(p=0.3)),
        dict(function_name='dropout2d', func_args=dict(p=0.3)),
        dict(function_name='interpolate', func_args=dict(scale_factor=2, mode='bilinear')),
        dict(function_name='normalize'),
        dict(function_name='normalize', func_args=dict(p=1.0, dim=(2, 3))),
        dict(function_name='relu'),
        dict(function_name='softmax', func_args=dict(dim=1)),
    ],
)

TORCH_NN = [
    *_cases(
        'TorchNNConnector',
        [(2, 4, 8, 8)],
        [
            dict(module_name='AdaptiveAvgPool2d', module_args=dict(output_size=2)),
            dict(module_name='AdaptiveMaxPool2d', module_args=dict(output_size=1)),
            dict(module_name='AvgPool2d', module_args=dict(kernel_size=4)),
            dict(module_name='MaxPool2d', module_args=dict(kernel_size=2)),
            dict(module_name='BatchNorm2d', module_args=dict(num_features=4)),
            dict(module_name='Conv2d', module_args=dict(in_channels=4, out_channels=6, kernel_size=3)),
            dict(module_name='Dropout', module_args=dict(p=0.3)),
            dict(module_name='Dropout2d', module_args=dict(p=0.3)),
            dict(module_name='ReLU'),
            dict(module_name='Softmax', module_args=dict(dim=1)),
        ],
    ),
    *_cases(
        'TorchNNConnector', [(3, 5)], [dict(module_name='Linear', module_args=dict(in_features=5, out_features=7))]
    ),
]

NORM = [
    *_cases(
        'NormConnector',
        [(2, 4, 7, 7), (3, 4, 1, 1)],
        [
            dict(in_channels=4, norm_cfg=norm)
            for norm in (BN, dict(type='BN', affine=False), dict(type='GN', num_groups=2))
        ],
    ),
    *_cases('NormConnector', [(2, 5, 4)], [dict(in_channels=4, norm_cfg=dict(type='LN'))]),
    *_cases('NormConnector', [(2, 4, 5)], [dict(in_channels=4, norm_cfg=dict(type='BN1d'))]),
    *_cases('NormConnector', [(2, 4, 3, 5, 5)], [dict(in_channels=4, norm_cfg=dict(type='BN3d'))]),
]

MAPS = [(2, 4, 6, 6), (3, 4, 5, 7), (2, 4, 1, 1)]

FACTOR_TRANSFER = [
    *_cases('Translator', MAPS, [dict(in_channel=4, out_channel=6, use_bn=use_bn) for use_bn in (True, False)]),
    *_cases(
        'Paraphraser',
        MAPS,
        [
            dict(in_channel=4, out_channel=2, phase=phase, use_bn=use_bn)
            for phase, use_bn in (('pretrain', True), ('pretrain', False), ('train', False))
        ],
    ),
    Case(
        'Paraphraser',
        one(2, 4, 6, 6),
        dict(in_channel=4, out_channel=2, phase='train', use_bn=True),
        label='eval',
        training=False,
    ),
    Case(
        'Paraphraser',
        one(2, 4, 6, 6),
        dict(in_channel=4, out_channel=2, phase='train', use_bn=True),
        label='training',
        differs=True,
        why='a frozen paraphraser is in eval mode; in mmrazor its BatchNorms go on learning from the batches',
    ),
]

MGD = _cases(
    'MGDConnector',
    [(2, 4, 6, 6), (1, 4, 1, 1)],
    [
        dict(student_channels=4, teacher_channels=teacher, lambda_mgd=ratio, mask_on_channel=on_channel)
        for teacher, ratio, on_channel in product((4, 6), (0.65, 0.0), (False, True))
    ],
)

# no other stride than 2 runs in mmrazor: its attention is upsampled by 2 whatever the stride
BYOT = [
    *_cases(
        'BYOTConnector',
        [(2, 4, 16, 16)],
        [
            dict(in_channel=4, out_channel=16, num_classes=10, expansion=1, stride=2),
            dict(in_channel=4, out_channel=16, num_classes=10, expansion=1, stride=2, kernel_size=5),
            dict(in_channel=2, out_channel=4, num_classes=3, expansion=2, stride=2, pool_size=8),
            dict(in_channel=2, out_channel=2, num_classes=3, expansion=2, stride=2, pool_size=16),
        ],
    ),
    *_cases(
        'BYOTConnector',
        [(2, 4, 8, 6)],
        [dict(in_channel=4, out_channel=8, num_classes=10, expansion=1, stride=2, pool_size=(4, 3))],
    ),
]

CONNECTOR_CASES = [*CONV_MODULE, *TORCH_FUNCTIONAL, *TORCH_NN, *NORM, *FACTOR_TRANSFER, *MGD, *BYOT]
