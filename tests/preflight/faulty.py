"""A pair of models with a module for every way in which a record can be wrong, and good configs that distil them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import nn
from toy import CLASSES, STUDENT_CHANNELS, TEACHER_CHANNELS, runner_config

from kd_plugins.engine.config import load_config


class Pair(nn.Module):
    """Returns a tuple: its input, and the mean of it."""

    def forward(self, feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return feature, feature.mean((2, 3))  # (N, C, H, W) -> (N, C, H, W), (N, C)


class Windows(nn.Module):
    """Folds four windows of the map into the batch, as window attention does."""

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = feature.shape
        windows = feature.reshape(batch, channels, 2, height // 2, 2, width // 2).permute(0, 2, 4, 1, 3, 5)
        return windows.reshape(batch * 4, channels, height // 2, width // 2)  # (N, C, H, W) -> (4N, C, H / 2, W / 2)


class Tokens(nn.Module):
    """A map as tokens, the first of them left out: no grid has that many."""

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        return feature.flatten(2).transpose(1, 2)[:, 1:]  # (N, C, H, W) -> (N, HW - 1, C)


class Head(nn.Module):
    """A linear classifier that knows its number of classes."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        return self.fc(feature)


@MODELS.register_module()
class FaultyClassifier(BaseModel):
    """Has a relu that is called twice, a ModuleList, a module that never runs, and outputs of every kind."""

    def __init__(
        self,
        channels: int = STUDENT_CHANNELS,
        num_classes: int = CLASSES,
        idle: bool = False,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.stages = nn.ModuleList(
            [nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, stride=2, padding=1)]
        )
        self.spare = nn.Linear(2, 2) if idle else nn.Identity()
        self.pair = Pair()
        self.windows = Windows()
        self.tokens = Tokens()
        self.head = Head(channels, num_classes)

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        feature = self.relu(self.stages[0](self.relu(self.stem(inputs))))
        self.windows(feature)
        self.tokens(feature)
        logits = self.head(self.pair(self.stages[1](feature))[1])
        data_samples = torch.as_tensor(data_samples)
        if mode == 'loss':
            return {'loss': F.cross_entropy(logits, data_samples)}
        if mode == 'predict':
            return [{'correct': bool(right)} for right in logits.argmax(1) == data_samples]
        return logits


LONG = dict(
    type='ConfigurableDistiller',
    student_recorders=dict(
        feature=dict(type='ModuleOutputs', source='relu'),
        logits=dict(type='ModuleOutputs', source='head.fc'),
    ),
    teacher_recorders=dict(
        feature=dict(type='ModuleOutputs', source='relu'),
        logits=dict(type='ModuleOutputs', source='head.fc'),
    ),
    connectors=dict(
        widen=dict(type='ConvModuleConnector', in_channel=STUDENT_CHANNELS, out_channel=TEACHER_CHANNELS),
    ),
    distill_losses=dict(
        loss_feature=dict(type='L2Loss', loss_weight=2),
        loss_kl=dict(type='KLDivergence', tau=4),
    ),
    loss_forward_mappings=dict(
        loss_feature=dict(
            s_feature=dict(recorder='feature', from_student=True, record_idx=1, connector='widen'),
            t_feature=dict(recorder='feature', from_student=False, record_idx=1),
        ),
        loss_kl=dict(
            preds_S=dict(recorder='logits', from_student=True),
            preds_T=dict(recorder='logits', from_student=False),
        ),
    ),
)
SHORT = dict(
    type='ConfigurableDistiller',
    distill_losses=dict(
        loss_feature=dict(
            type='L2Loss',
            loss_weight=2,
            student=dict(source='relu', record_idx=1),
            teacher=dict(source='relu', record_idx=1),
            connector=dict(type='ConvModuleConnector', in_channel=STUDENT_CHANNELS, out_channel=TEACHER_CHANNELS),
        ),
        loss_kl=dict(type='KLDivergence', tau=4, student='head.fc', teacher='head.fc'),
    ),
)


def good_config(form: str) -> dict[str, Any]:
    """A config without a fault, in the ``'long'`` or the ``'short'`` form."""
    config = runner_config(
        'unused',
        model=dict(
            type='SingleTeacherDistill',
            data_preprocessor=dict(type='ImgDataPreprocessor'),
            architecture=dict(type='FaultyClassifier', channels=STUDENT_CHANNELS),
            teacher=dict(type='FaultyClassifier', channels=TEACHER_CHANNELS),
            distiller=copy.deepcopy({'long': LONG, 'short': SHORT}[form]),
        ),
    )
    for loader in ('train_dataloader', 'val_dataloader'):
        config[loader]['collate_fn'] = dict(type='pseudo_collate')
    return config


def digits_config() -> dict[str, Any]:
    """The config of the small digits pair, whose models have parts to misspell; its teacher has random weights."""
    config = load_config(Path(__file__).parents[2] / 'configs/quickstart/kd_vgg_cnn_digits.py').to_dict()
    config['model'].pop('teacher_ckpt')
    config.pop('teacher_ckpt')
    config['train_dataloader']['dataset']['num_images'] = 20
    return config


def put(config: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a key path."""
    *keys, last = path.split('.')
    for key in keys:
        config = config[key]
    config[last] = value


def drop(config: dict[str, Any], path: str) -> Any:
    """Remove a key, and return what it had."""
    *keys, last = path.split('.')
    for key in keys:
        config = config[key]
    return config.pop(last)


def write(config: dict[str, Any], path: Path) -> Path:
    """Write a config file."""
    config = {key: value for key, value in config.items() if key != 'work_dir'}
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()) + '\n')
    return path
