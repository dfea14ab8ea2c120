"""A video model of a library of its own, small: what MMAction2's recognisers are like to a distiller.

A sample has several clips, which its preprocessor stacks and the model folds into the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement
from torch import nn
from toy_library import registries_of

SCOPE = 'toyvideo'
REGISTRIES = registries_of(SCOPE)
MODELS, DATASETS, TRANSFORMS, METRICS = (REGISTRIES[name] for name in ('MODELS', 'DATASETS', 'TRANSFORMS', 'METRICS'))

CLASSES = 3
CLIPS = 2
FRAMES = 4
PIXELS = 16


@MODELS.register_module()
class ToyVideoPreprocessor(BaseDataPreprocessor):
    """Stacks the videos of a batch: (N, CLIPS, C, T, H, W)."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        data = self.cast_data(data)
        return {**data, 'inputs': torch.stack(data['inputs']).float() / 255}


@MODELS.register_module()
class ToyRecognizer3D(BaseModel):
    """Two convolutions over space and time, and a linear classifier."""

    def __init__(
        self, channels: int, temporal_stride: int = 1, data_preprocessor: Any = None, init_cfg: Any = None
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        stride = (temporal_stride, 2, 2)
        self.backbone = nn.Sequential(
            nn.Conv3d(3, channels, 3, stride=stride, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, stride=(1, 2, 2), padding=1),
        )
        self.fc_cls = nn.Linear(channels, CLASSES)

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        scores = self.fc_cls(self.extract_feat(inputs).mean((2, 3, 4)))  # (NM, C, T, H, W) -> (NM, CLASSES)
        if mode == 'tensor':
            return scores
        clips = len(scores) // len(data_samples)
        labels = torch.tensor([sample.gt_label for sample in data_samples], device=scores.device)
        if mode == 'loss':
            return {'loss_cls': F.cross_entropy(scores, labels.repeat_interleave(clips))}
        for sample, own in zip(data_samples, scores.softmax(1).reshape(-1, clips, CLASSES).mean(1), strict=True):
            sample.set_data(dict(pred_label=int(own.argmax())))
        return data_samples

    def extract_feat(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.backbone(inputs.flatten(0, 1))  # (N, M, C, T, H, W) -> (NM, C, T, H / 4, W / 4)


@TRANSFORMS.register_module()
class LoadToyClips:
    """Noise that grows brighter, in the channel of its class."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        random = np.random.default_rng(results['sample_idx'])
        frames = random.integers(0, 64, (CLIPS, 3, FRAMES, PIXELS, PIXELS), dtype=np.uint8)
        frames[:, results['label']] += np.arange(FRAMES, dtype=np.uint8)[:, None, None] * np.uint8(40)
        return {**results, 'imgs': frames}


@TRANSFORMS.register_module()
class PackToyVideoInputs:
    """Packs the clips with their label."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        sample = BaseDataElement()
        sample.set_data(dict(gt_label=results['label']))
        return dict(inputs=torch.from_numpy(results['imgs']), data_samples=sample)


@DATASETS.register_module()
class ToyVideos(BaseDataset):
    """Four videos."""

    METAINFO = dict(classes=tuple('abc'))

    def load_data_list(self) -> list[dict[str, Any]]:
        return [dict(label=index % CLASSES, filename=f'{index}.mp4') for index in range(4)]


@METRICS.register_module()
class ToyTop1(BaseMetric):
    """Share of the videos that are right."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(sample['pred_label'] == sample['gt_label'] for sample in data_samples)

    def compute_metrics(self, results: list[bool]) -> dict[str, float]:
        return {'top1': sum(results) / len(results)}
