"""A classifier, a data set and a metric that are small enough to meet a real Runner in a second.

They are registered in mmengine's root registries, so that every scope finds them.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

CLASSES = 3
STUDENT_CHANNELS = 4
TEACHER_CHANNELS = 6


@MODELS.register_module()
class ToyClassifier(BaseModel):
    """Two convolutions that share one relu, which is thus called twice, as in a basic block of a ResNet."""

    def __init__(self, channels: int = STUDENT_CHANNELS, data_preprocessor: Any = None, init_cfg: Any = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(channels, CLASSES)
        self.calls: Counter[str] = Counter()

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        self.calls[mode] += 1
        feature = self.relu(self.bn(self.conv1(inputs)))  # (N, 3, H, W) -> (N, C, H, W)
        feature = self.relu(self.conv2(feature))
        logits = self.fc(self.dropout(feature.mean((2, 3))))  # (N, C, H, W) -> (N, CLASSES)
        if mode == 'loss':
            return {'loss': F.cross_entropy(logits, data_samples)}
        if mode == 'predict':
            return [{'correct': bool(right)} for right in logits.argmax(1) == data_samples]
        return logits


@DATASETS.register_module()
class ToyDataset(Dataset):
    """Noise with a label; the same for everybody."""

    def __init__(self, size: int = 8, pixels: int = 8) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(size, 3, pixels, pixels, generator=generator)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {'inputs': self.images[index], 'data_samples': index % CLASSES}


@METRICS.register_module()
class ToyAccuracy(BaseMetric):
    """Share of the right answers."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(sample['correct'] for sample in data_samples)

    def compute_metrics(self, results: list[bool]) -> dict[str, float]:
        return {'accuracy': sum(results) / len(results)}


DISTILLER = dict(
    type='ConfigurableDistiller',
    student_recorders=dict(
        feature=dict(type='ModuleOutputs', source='relu'),
        logits=dict(type='ModuleOutputs', source='fc'),
    ),
    teacher_recorders=dict(
        feature=dict(type='ModuleOutputs', source='relu'),
        logits=dict(type='ModuleOutputs', source='fc'),
    ),
    distill_losses=dict(
        loss_feature=dict(type='L2Loss', loss_weight=2),
        loss_logits=dict(type='KLDivergence', tau=4),
    ),
    connectors=dict(
        widen=dict(
            type='ConvModuleConnector',
            in_channel=STUDENT_CHANNELS,
            out_channel=TEACHER_CHANNELS,
            norm_cfg=dict(type='BN'),
        ),
    ),
    loss_forward_mappings=dict(
        loss_feature=dict(
            s_feature=dict(recorder='feature', from_student=True, record_idx=1, connector='widen'),
            t_feature=dict(recorder='feature', from_student=False, record_idx=1),
        ),
        loss_logits=dict(
            preds_S=dict(recorder='logits', from_student=True),
            preds_T=dict(recorder='logits', from_student=False),
        ),
    ),
)


def distiller_config() -> dict[str, Any]:
    """A copy of ``DISTILLER`` that a test may spoil."""
    return copy.deepcopy(DISTILLER)


def logits_only() -> dict[str, Any]:
    """A distiller that compares the logits, which needs no connector."""
    config = distiller_config()
    for key in ('connectors', 'student_recorders', 'teacher_recorders', 'distill_losses', 'loss_forward_mappings'):
        for name in ('feature', 'loss_feature', 'widen'):
            config[key].pop(name, None)
    return config


def algorithm_config(**changes: Any) -> dict[str, Any]:
    """Arguments of SingleTeacherDistill for the toy pair."""
    return {
        'architecture': dict(type='ToyClassifier', channels=STUDENT_CHANNELS),
        'teacher': dict(type='ToyClassifier', channels=TEACHER_CHANNELS),
        'distiller': distiller_config(),
        **changes,
    }


def runner_config(work_dir: Any, model: Any = None, epochs: int = 1, **changes: Any) -> dict[str, Any]:
    """A config of mmengine's Runner that trains and validates the toy pair."""
    loader = dict(
        dataset=dict(type='ToyDataset'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        batch_size=4,
        num_workers=0,
    )
    return {
        'model': model or dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config()),
        'work_dir': str(work_dir),
        'train_dataloader': copy.deepcopy(loader),
        'train_cfg': dict(by_epoch=True, max_epochs=epochs, val_interval=1),
        'optim_wrapper': dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        'val_dataloader': copy.deepcopy(loader),
        'val_cfg': dict(type='kd_plugins.SingleTeacherDistillValLoop'),
        'val_evaluator': dict(type='ToyAccuracy'),
        'default_hooks': dict(logger=dict(type='LoggerHook', interval=1)),
        'randomness': dict(seed=0),
        'log_level': 'WARNING',
        **changes,
    }


def make_runner(work_dir: Any, *args: Any, **changes: Any) -> Runner:
    return Runner.from_cfg(Config(runner_config(work_dir, *args, **changes)))


def toy_batch(size: int = 2, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, 3, 8, 8, generator=generator).to(dtype)
    return {'inputs': images, 'data_samples': torch.arange(size) % CLASSES}


def count_hooks(model: nn.Module) -> int:
    """All hooks of all kinds on all modules of a model."""
    return sum(
        len(hooks)
        for module in model.modules()
        for name, hooks in vars(module).items()
        if name.endswith('_hooks') and isinstance(hooks, dict)
    )


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def is_same(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal to the bit."""
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
