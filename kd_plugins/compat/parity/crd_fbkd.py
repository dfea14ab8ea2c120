"""Cases of contrastive representation distillation and of feature-based knowledge distillation."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cached_property
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import nn

from kd_plugins.compat.parity.case import Case, MakeInputs

BANK = dict(sample_n=40, dim_out=6)


def embeddings(count: int, places: int, scale: float = 1.0) -> MakeInputs:
    """Maker of two batches of embeddings of length ``scale``, and of data samples with their places in the banks."""

    def make(dtype: torch.dtype) -> tuple[Any, ...]:
        features = F.normalize(torch.randn(2, count, BANK['dim_out'], dtype=torch.float64), dim=2) * scale
        samples = []
        for index in torch.randperm(BANK['sample_n'])[:count]:
            contrast = torch.cat([index[None], torch.randint(BANK['sample_n'], (places,))])
            samples.append(BaseDataElement(sample_idx=index, contrast_sample_idxs=contrast))
        return (*features.to(dtype), samples)

    return make


class Adapted(nn.Module):
    """An oracle: mmrazor's component with weights of its own, mended or with another output.

    It is built when it is first asked, and each call is one of a fresh copy in the precision of the inputs.
    """

    def __init__(self, component: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(type=f'mmrazor.{component}', **options)

    @cached_property
    def theirs(self) -> nn.Module:
        """What mmrazor builds."""
        return MODELS.build(self.config)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Weights and banks, under mmrazor's names."""
        return self.theirs.state_dict(*args, **kwargs)

    def forward(self, *inputs: Any) -> Any:
        """What mmrazor computes."""
        # it prints what it sets
        with redirect_stdout(io.StringIO()):
            return copy.deepcopy(self.theirs).to(inputs[0].dtype)(*inputs)


class ScalarCRDLoss(Adapted):
    """mmrazor's loss, a tensor of one element, as a scalar."""

    def forward(self, *inputs: Any) -> torch.Tensor:
        """The loss without its weight, which mmrazor leaves out."""
        return super().forward(*inputs).squeeze(0)


class WeightedCRDLoss(ScalarCRDLoss):
    """The same, times its weight."""

    def forward(self, *inputs: Any) -> torch.Tensor:
        """The loss with its weight."""
        return self.config['loss_weight'] * super().forward(*inputs)


class SlowCRDLoss(Adapted):
    """The formula of the paper, one number at a time, with mmrazor's banks."""

    def forward(self, s_feats: torch.Tensor, t_feats: torch.Tensor, samples: list[Any]) -> torch.Tensor:
        """Sum over sides, samples and places."""
        banks, size = self.state_dict(), self.config['sample_n']
        tau, eps, noise = 0.07, 1e-7, self.config['neg_num'] / size
        total = torch.zeros((), dtype=s_feats.dtype)
        for features, bank in ((s_feats, 'contrast.memory_v2'), (t_feats, 'contrast.memory_v1')):
            rows = banks[bank].to(features.dtype)
            scores = [
                [torch.exp((rows[place] * feature).sum() / tau) for place in sample.contrast_sample_idxs]
                for feature, sample in zip(features, samples, strict=True)
            ]
            constant = torch.stack([score for row in scores for score in row]).detach().mean() * size
            for row in scores:
                same, *others = (score / constant for score in row)
                total = total - torch.log(same / (same + noise + eps))
                for other in others:
                    total = total - torch.log(noise / (other + noise + eps))
        return self.config['loss_weight'] * total / len(s_feats)


class MendedConcatenation(Adapted):
    """mmrazor's connector with an activation that forgets its output, which mmcv changes in place."""

    @cached_property
    def theirs(self) -> nn.Module:
        """What mmrazor builds, with its gradient."""
        built = MODELS.build(self.config)
        for module in built.modules():
            if hasattr(module, 'concat_project'):
                module.concat_project.activate = nn.LeakyReLU(0.0)
        return built


def maps(shape: tuple[int, ...]) -> MakeInputs:
    """Maker of a random map."""
    return lambda dtype: (torch.randn(shape, dtype=torch.float64).to(dtype),)


def both_sides(shape: tuple[int, int, int, int]) -> MakeInputs:
    """Maker of what the two FBKD connectors return, at random; the masks are positive."""
    count, channels, height, width = shape
    pooled = (count, 1, height, width)
    masks, vector = (pooled, (count, channels, 1, 1)), (count, channels)

    def make(dtype: torch.dtype) -> tuple[Any, ...]:
        def drawn(*shapes: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
            return tuple(torch.randn(one, dtype=torch.float64).to(dtype) for one in shapes)

        positive = [tuple(mask.exp() for mask in drawn(*masks)) for _ in range(2)]
        return (*positive[0], *drawn(vector, pooled, shape, shape)), (*positive[1], *drawn(pooled, shape, shape))

    return make


def _with_oracle(oracle: type[Adapted], component: str, options: dict[str, Any], **case: Any) -> Case:
    return Case(component, options=options, oracle=oracle(component, options), **case)


WEIGHT = 'mmrazor leaves loss_weight out'
RETURNS = "mmrazor's loss is a tensor of one element, ours a scalar"
IN_PLACE = "mmcv's block, which mmrazor takes, changes an activation's output in place and has no gradient in this mode"

CRD = [
    Case('CRDConnector', maps(shape), dict(dim_in=math.prod(shape[1:]), dim_out=5), label=str(shape))
    for shape in ((3, 8), (2, 8, 1, 1), (2, 3, 2, 2))
]
CRD += [
    _with_oracle(
        ScalarCRDLoss,
        'CRDLoss',
        dict(BANK, neg_num=places, temperature=tau, momentum=momentum, eps=eps),
        inputs=embeddings(count, places),
        label=f'({count}, {BANK["dim_out"]})',
        why=RETURNS,
    )
    for count, places, (tau, momentum, eps) in product(
        (1, 4), (1, 16), ((0.07, 0.5, 1e-7), (0.5, 0.9, 1e-7), (0.07, 0.0, 1e-3))
    )
]
CRD += [
    _with_oracle(
        oracle,
        'CRDLoss',
        dict(BANK, neg_num=8, loss_weight=0.8),
        inputs=embeddings(3, 8),
        label=f'(3, {BANK["dim_out"]}) {oracle.__name__}',
        why=WEIGHT,
        differs=oracle is ScalarCRDLoss,
    )
    for oracle in (ScalarCRDLoss, WeightedCRDLoss, SlowCRDLoss)
]

CONNECTORS: tuple[dict[str, Any], ...] = (
    dict(in_channels=4),
    dict(in_channels=4, zeros_init=False, mode='embedded_gaussian', spatial_T=0.1, channel_T=2.0),
    dict(in_channels=4, zeros_init=False, mode='embedded_gaussian', use_scale=False, std=0.5),
    dict(in_channels=4, zeros_init=False, mode='gaussian', reduction=4),
    dict(in_channels=4, zeros_init=False, reduction=4, sub_sample=True, maxpool_stride=4, std=0.5),
    dict(in_channels=4, zeros_init=False, norm_cfg=dict(type='GN', num_groups=2), std=0.5),
)
FBKD = [
    Case(f'FBKD{side}Connector', maps(shape), options, label=str(shape), training=training)
    for side, shape, options, training in product(
        ('Student', 'Teacher'),
        ((2, 4, 8, 8), (1, 4, 9, 12)),
        CONNECTORS,
        (True, False),
    )
]
FBKD += [
    _with_oracle(
        MendedConcatenation,
        f'FBKD{side}Connector',
        dict(in_channels=4, zeros_init=False, mode='concatenation', std=0.5, sub_sample=sub_sample),
        inputs=maps(shape),
        label=str(shape),
        why=IN_PLACE,
    )
    for side, shape, sub_sample in product(('Student', 'Teacher'), ((2, 4, 8, 8), (1, 4, 9, 12)), (True, False))
]
FBKD += [
    Case('FBKDLoss', both_sides(shape), options, label=str(shape))
    for shape, options in product(
        ((2, 4, 5, 3), (1, 3, 1, 1), (3, 1, 4, 4)),
        (
            dict(),
            dict(loss_weight=3.0),
            dict(mask_l2_weight=0.5, channel_weight=0.25, spatial_weight=2.0, nonloacl_weight=0.125),
        ),
    )
]

CRD_FBKD_CASES = [*CRD, *FBKD]
