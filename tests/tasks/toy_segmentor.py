"""A segmentor of a library of its own, small: what MMSegmentation's models are like to a distiller."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel, BaseModule
from mmengine.structures import BaseDataElement, PixelData
from torch import nn
from toy_library import registries_of

SCOPE = 'toyseg'
REGISTRIES = registries_of(SCOPE)
MODELS, DATASETS, TRANSFORMS, METRICS = (REGISTRIES[name] for name in ('MODELS', 'DATASETS', 'TRANSFORMS', 'METRICS'))

CLASSES = 4
IGNORED = 255


@MODELS.register_module()
class ToySegBackbone(BaseModule):
    """Two stages of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stage1 = ConvModule(3, channels, 3, stride=2, padding=1, norm_cfg=dict(type='BN'))
        self.stage2 = ConvModule(channels, channels * 2, 3, stride=2, padding=1, norm_cfg=dict(type='BN'))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, H, W) -> (N, C, H / 2, W / 2), (N, 2C, H / 4, W / 4)."""
        feature = self.stage1(images)
        return feature, self.stage2(feature)


@MODELS.register_module()
class ToyFCNHead(BaseModule):
    """A convolution, and a classifier of each position."""

    def __init__(self, in_channels: int, channels: int, in_index: int, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_index = in_index
        self.convs = ConvModule(in_channels, channels, 3, padding=1)
        self.dropout = nn.Dropout2d(0.1)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)

    def forward(self, feats: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return self.conv_seg(self.dropout(self.convs(feats[self.in_index])))

    def loss(self, feats: tuple[torch.Tensor, ...], data_samples: list[Any]) -> dict[str, torch.Tensor]:
        labels = torch.cat([sample.gt_sem_seg.data for sample in data_samples])  # of (1, H, W): (N, H, W)
        logits = F.interpolate(self(feats), size=labels.shape[1:], mode='bilinear')
        right = (logits.argmax(1) == labels)[labels != IGNORED]
        return {
            'loss_ce': F.cross_entropy(logits, labels, ignore_index=IGNORED),
            'acc_seg': right.float().mean() * 100,
        }


@MODELS.register_module()
class ToySegmentor(BaseModel):
    """Backbone, decode head, and an auxiliary head for training alone."""

    def __init__(
        self,
        channels: int,
        num_classes: int = CLASSES,
        auxiliary_head: bool = True,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(dict(type='ToySegBackbone', channels=channels))
        head = dict(type='ToyFCNHead', channels=channels, num_classes=num_classes)
        self.decode_head = MODELS.build(dict(head, in_channels=channels * 2, in_index=1))
        self.auxiliary_head = MODELS.build(dict(head, in_channels=channels, in_index=0)) if auxiliary_head else None

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        feats = self.backbone(inputs)
        if mode == 'loss':
            losses = {f'decode.{name}': value for name, value in self.decode_head.loss(feats, data_samples).items()}
            if self.auxiliary_head is not None:
                extra = self.auxiliary_head.loss(feats, data_samples)
                losses.update({f'aux.{name}': value for name, value in extra.items()})
            return losses
        logits = self.decode_head(feats)
        if mode == 'tensor':
            return logits
        for sample, one in zip(
            data_samples, F.interpolate(logits, size=inputs.shape[2:], mode='bilinear'), strict=True
        ):
            sample.set_data(
                dict(seg_logits=PixelData(data=one), pred_sem_seg=PixelData(data=one.argmax(0, keepdim=True)))
            )
        return data_samples


@TRANSFORMS.register_module()
class LoadToySegImage:
    """Noise that is bright in the channel of its class."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        random = np.random.default_rng(results['sample_idx'])
        image = random.integers(0, 64, (16, 32, 3), dtype=np.uint8)
        image[:, 16:] += np.uint8(128)
        return {**results, 'img': image, 'img_shape': (16, 32)}


@TRANSFORMS.register_module()
class LoadToySegMap:
    """The class of each pixel; the topmost line counts as none."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        classes = np.full((16, 32), results['label'], dtype=np.int64)
        classes[:, 16:] = CLASSES - 1
        classes[0] = IGNORED
        return {**results, 'gt_seg_map': classes}


@TRANSFORMS.register_module()
class PackToySegInputs:
    """Packs an image with its map of classes if it has one, as MMSegmentation's does."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        sample = BaseDataElement(metainfo=dict(img_shape=results['img_shape']))
        if 'gt_seg_map' in results:
            sample.set_data(dict(gt_sem_seg=PixelData(data=torch.from_numpy(results['gt_seg_map'])[None])))
        image = torch.from_numpy(np.ascontiguousarray(results['img'])).permute(2, 0, 1)  # (H, W, C) -> (C, H, W)
        return dict(inputs=image, data_samples=sample)


@DATASETS.register_module()
class ToySegMaps(BaseDataset):
    """Images of two halves."""

    METAINFO = dict(classes=tuple('abcd'))

    def load_data_list(self) -> list[dict[str, Any]]:
        return [dict(label=index % (CLASSES - 1), img_path=f'{index}.png') for index in range(4)]


@METRICS.register_module()
class ToyPixelAccuracy(BaseMetric):
    """Share of the pixels that are right."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        for sample in data_samples:
            classes = sample['gt_sem_seg']['data']
            right = (sample['pred_sem_seg']['data'] == classes)[classes != IGNORED]
            self.results.append(float(right.float().mean()))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'aAcc': 100 * sum(results) / len(results)}
