"""A detector of a library of its own, small: what MMDetection's models are like to a distiller.

Its neck returns a tuple of maps, its head shares its convolutions among them and returns lists and dicts, its images
are of several sizes and its annotations are boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, Scale
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel, BaseModule, ImgDataPreprocessor
from mmengine.structures import BaseDataElement, InstanceData
from torch import nn
from toy_library import registries_of

SCOPE = 'toydet'
REGISTRIES = registries_of(SCOPE)
MODELS, DATASETS, TRANSFORMS, METRICS = (REGISTRIES[name] for name in ('MODELS', 'DATASETS', 'TRANSFORMS', 'METRICS'))

CLASSES = 3
# distances to the sides of a box are distributions over 0 to REG_MAX strides
REG_MAX = 4


@MODELS.register_module()
class ToyPyramid(BaseModule):
    """Four stages of stride 2, the first three of which double the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [3, channels, channels * 2, channels * 4, channels * 4]
        stages = [
            ConvModule(before, after, 3, stride=2, padding=1, norm_cfg=dict(type='BN'))
            for before, after in pairwise(widths)
        ]
        self.stages = nn.ModuleList(stages)
        self.out_channels = widths[1:]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, H, W) -> (N, C, H / 2, W / 2), …, (N, 4C, H / 16, W / 16)."""
        maps = [images]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return tuple(maps[1:])


@MODELS.register_module()
class ToyFPN(BaseModule):
    """A feature pyramid whose modules have the names of MMDetection's."""

    def __init__(
        self, in_channels: list[int], out_channels: int, num_outs: int = 5, add_extra_convs: bool = False
    ) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvModule(width, out_channels, 1, act_cfg=None) for width in in_channels)
        convs = num_outs if add_extra_convs else len(in_channels)
        strides = [1 if index < len(in_channels) else 2 for index in range(convs)]
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, stride=stride, padding=1, act_cfg=None) for stride in strides
        )
        self.num_outs = num_outs

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        laterals = [conv(feature) for conv, feature in zip(self.lateral_convs, inputs, strict=True)]
        for level in range(len(laterals) - 1, 0, -1):
            size = laterals[level - 1].shape[2:]
            laterals[level - 1] = laterals[level - 1] + F.interpolate(laterals[level], size=size)
        outs = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals, strict=False)]
        for level in range(len(laterals), self.num_outs):
            extra = level < len(self.fpn_convs)
            outs.append(self.fpn_convs[level](outs[-1]) if extra else F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)


def multi_apply(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> tuple[list[Any], ...]:
    """Call a function level by level, and give what it returns as one list each."""
    return tuple(map(list, zip(*map(function, *arguments), strict=True)))


def expected_distance(distribution: torch.Tensor) -> torch.Tensor:
    """(N, 4 * (REG_MAX + 1), H, W) -> (N, 4, H, W): the distances to the sides of a box, in strides."""
    count, _, height, width = distribution.shape
    probabilities = distribution.reshape(count, 4, REG_MAX + 1, height, width).softmax(2)
    steps = torch.arange(REG_MAX + 1, dtype=probabilities.dtype, device=probabilities.device)
    return torch.einsum('nkrhw,r->nkhw', probabilities, steps)


@MODELS.register_module()
class ToyGFLHead(BaseModule):
    """A dense head in the manner of generalised focal loss; its convolutions are shared among the levels."""

    def __init__(self, in_channels: int, feat_channels: int, levels: int = 5, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.num_classes = self.cls_out_channels = num_classes
        self.use_sigmoid_cls = True
        self.strides = [2 ** (level + 1) for level in range(levels)]
        self.cls_conv = ConvModule(in_channels, feat_channels, 3, padding=1)
        self.gfl_cls = nn.Conv2d(feat_channels, num_classes, 1)
        self.gfl_reg = nn.Conv2d(feat_channels, 4 * (REG_MAX + 1), 1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def forward(self, feats: tuple[torch.Tensor, ...]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return multi_apply(self.forward_single, feats, self.scales)

    def forward_single(self, feat: torch.Tensor, scale: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        feat = self.cls_conv(feat)
        return self.gfl_cls(feat), scale(self.gfl_reg(feat)).float()

    def loss(self, feats: tuple[torch.Tensor, ...], data_samples: list[Any]) -> dict[str, list[torch.Tensor]]:
        return self.loss_by_feat(*self(feats), [sample.gt_instances for sample in data_samples])

    def loss_by_feat(
        self, cls_scores: list[torch.Tensor], bbox_preds: list[torch.Tensor], batch_gt_instances: list[Any]
    ) -> dict[str, list[torch.Tensor]]:
        instances = [batch_gt_instances] * len(self.strides)
        losses = multi_apply(self.loss_by_feat_single, cls_scores, bbox_preds, self.strides, instances)
        return dict(zip(('loss_cls', 'loss_bbox'), losses, strict=True))

    def loss_by_feat_single(
        self, cls_score: torch.Tensor, bbox_pred: torch.Tensor, stride: int, batch_gt_instances: list[Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A cell is of the box in which its centre lies."""
        count, _, height, width = cls_score.shape
        centres = _centres(height, width, stride, cls_score)  # (HW, 2)
        labels = cls_score.new_zeros(count, height * width, self.num_classes)
        targets = cls_score.new_zeros(count, height * width, 4)
        inside = torch.zeros(count, height * width, dtype=torch.bool, device=cls_score.device)
        for index, instances in enumerate(batch_gt_instances):
            for box, label in zip(instances.bboxes, instances.labels, strict=True):
                sides = torch.cat([centres - box[:2], box[2:] - centres], dim=1)  # (HW, 4)
                own = sides.min(1).values > 0
                labels[index, own, label] = 1
                targets[index, own] = sides[own] / stride
                inside[index] |= own
        scores = cls_score.flatten(2).transpose(1, 2)  # (N, K, H, W) -> (N, HW, K)
        distances = expected_distance(bbox_pred).flatten(2).transpose(1, 2)  # (N, 4, H, W) -> (N, HW, 4)
        loss_cls = F.binary_cross_entropy_with_logits(scores, labels)
        loss_bbox = F.smooth_l1_loss(distances, targets.clamp(max=REG_MAX), reduction='none').mean(2)
        return loss_cls, (loss_bbox * inside).mean()

    def predict(self, feats: tuple[torch.Tensor, ...], top: int = 5) -> list[InstanceData]:
        cls_scores, bbox_preds = self(feats)
        scores, boxes = [], []
        for cls_score, bbox_pred, stride in zip(cls_scores, bbox_preds, self.strides, strict=True):
            centres = _centres(*cls_score.shape[2:], stride, cls_score)
            distances = expected_distance(bbox_pred).flatten(2).transpose(1, 2) * stride
            scores.append(cls_score.sigmoid().flatten(2).transpose(1, 2))
            boxes.append(torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], dim=2))
        best, labels = torch.cat(scores, dim=1).max(2)  # (N, all HW, K) -> (N, all HW)
        chosen = best.topk(top, dim=1).indices
        all_boxes = torch.cat(boxes, dim=1)
        return [
            InstanceData(bboxes=all_boxes[index, own], labels=labels[index, own], scores=best[index, own])
            for index, own in enumerate(chosen)
        ]


def _centres(height: int, width: int, stride: int, like: torch.Tensor) -> torch.Tensor:
    """(HW, 2): x and y of the centres of the cells, in pixels."""
    y, x = (torch.arange(size, dtype=like.dtype, device=like.device) * stride + stride / 2 for size in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).reshape(-1, 2)


@MODELS.register_module()
class ToyDetPreprocessor(ImgDataPreprocessor):
    """Pads the images of a batch to one size, and tells the samples."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        data = super().forward(data, training)
        for sample in data['data_samples']:
            sample.set_metainfo(dict(batch_input_shape=tuple(data['inputs'].shape[2:])))
        return data


@MODELS.register_module()
class ToyDetector(BaseModel):
    """A single-stage detector."""

    def __init__(
        self,
        backbone: dict[str, Any],
        neck: dict[str, Any],
        bbox_head: dict[str, Any],
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(dict(neck, in_channels=self.backbone.out_channels))
        self.bbox_head = MODELS.build(dict(bbox_head, in_channels=neck['out_channels'], levels=self.neck.num_outs))

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        feats = self.extract_feat(inputs)
        if mode == 'loss':
            return self.bbox_head.loss(feats, data_samples)
        if mode == 'predict':
            for sample, instances in zip(data_samples, self.bbox_head.predict(feats), strict=True):
                sample.pred_instances = instances
            return data_samples
        return self.bbox_head(feats)

    def extract_feat(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.neck(self.backbone(inputs))


@TRANSFORMS.register_module()
class LoadToyImage:
    """Noise with a bright square at each box."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        random = np.random.default_rng(results['sample_idx'])
        image = random.integers(0, 64, (*results['size'], 3), dtype=np.uint8)
        for instance in results['instances']:
            left, top, right, bottom = instance['bbox']
            image[top:bottom, left:right, instance['bbox_label']] = 255
        return {**results, 'img': image, 'img_shape': results['size']}


@TRANSFORMS.register_module()
class LoadToyBoxes:
    """The annotations of an image."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        boxes = np.array([instance['bbox'] for instance in results['instances']], dtype=np.float32).reshape(-1, 4)
        labels = np.array([instance['bbox_label'] for instance in results['instances']], dtype=np.int64)
        return {**results, 'gt_bboxes': boxes, 'gt_bboxes_labels': labels}


@TRANSFORMS.register_module()
class PackToyDetInputs:
    """Packs an image with its boxes if it has any, as MMDetection's does."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        sample = BaseDataElement(metainfo=dict(img_shape=results['img_shape']))
        sample.gt_instances = InstanceData()
        if 'gt_bboxes' in results:
            sample.gt_instances.bboxes = torch.from_numpy(results['gt_bboxes']).float()
            sample.gt_instances.labels = torch.from_numpy(results['gt_bboxes_labels'])
        image = torch.from_numpy(np.ascontiguousarray(results['img'])).permute(2, 0, 1)  # (H, W, C) -> (C, H, W)
        return dict(inputs=image, data_samples=sample)


@DATASETS.register_module()
class ToyBoxes(BaseDataset):
    """Images of two sizes, with one box or two; one has none."""

    METAINFO = dict(classes=tuple('abc'))

    def __init__(self, images: int = 4, pixels: int = 32, **kwargs: Any) -> None:
        self.images = images
        self.pixels = pixels
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        half = self.pixels // 2
        first = dict(bbox=[2, 2, half, half + 2], bbox_label=0)
        second = dict(bbox=[half - 4, half - 6, half + 6, half + 6], bbox_label=2)
        choices = [[first], [first, second], [second], []]
        sizes = [(self.pixels, self.pixels), (self.pixels - 4, self.pixels)]
        return [
            dict(size=sizes[index % 2], instances=choices[index % 4], img_path=f'{index}.png')
            for index in range(self.images)
        ]


@METRICS.register_module()
class ToyOverlap(BaseMetric):
    """Mean over the true boxes of the best intersection over union with a predicted one."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        for sample in data_samples:
            predicted = sample['pred_instances']['bboxes']
            for box in sample['gt_instances']['bboxes']:
                sides = torch.minimum(predicted[:, 2:], box[2:]) - torch.maximum(predicted[:, :2], box[:2])
                shared = sides.clamp(min=0).prod(1)
                areas = (predicted[:, 2:] - predicted[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
                self.results.append(float((shared / (areas - shared)).max()))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'overlap': sum(results) / len(results)}
