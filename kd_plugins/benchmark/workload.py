"""What all arms of a measurement share: a config, the weights to start from, a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import FUNCTIONS, OPTIMIZERS, TRANSFORMS, DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_plugins.benchmark.arm import LeftOut
from kd_plugins.benchmark.setting import Setting
from kd_plugins.build import beginnings, build_model
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import complete_config
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import build_from_config, pipeline_of
from kd_plugins.preflight.probe import probe_batch

CHECKPOINT_KEYS = ('teacher_ckpt', 'ckpt_path', 'init_cfg')
# steps repeat on one batch; weights that hardly move keep its losses finite, and the work the same
LEARNING_RATE = 1e-6
# logits apart: between nearly equal ones, the divergence is a difference of equal numbers
LOGIT_SCALE = 10.0
# of ImageNet's images, where a config does not tell
USUAL_SIZE = 224


class Workload:
    """A config of ours without its checkpoints, on made-up images.

    Args:
        path: Of the config.
        setting: What is measured with.
        options: Values of the config by dotted key, as ``--cfg-options``.

    Attributes:
        config: The whole config.
        setting: What is measured with.
        path: Of the config.
        options: As given.

    Raises:
        UserError: The config is not that of a distillation, or there is no batch to be made for it.
    """

    def __init__(self, path: str, setting: Setting, options: dict[str, Any] | None = None) -> None:
        self.path, self.setting, self.options = path, setting, options
        self.config = read_config(path, options)
        with self.scope():
            # what the config leaves out of its connectors is worked out here, and written into it
            torch.manual_seed(setting.seed)
            first = build_from_config(self.config)
            if not callable(getattr(first, 'comparisons', None)):
                got = f'a {type(first).__name__}'
                raise UserError(Fault('CONFIG', 'a distillation', got, 'give a config with a distiller'))
            self.classes = _classes(self.config, first)
            self._samples = self._make_samples()
            self._weights = {name: value.clone() for name, value in first.state_dict().items()}
            self._teachers = {key: self._settle(model, first) for key, model in self._plain_teachers().items()}

    def scope(self) -> Any:
        """The default scope of the config, in which its parts are built."""
        return DefaultScope.overwrite_default_scope(self.config.default_scope)

    def algorithm(self, config: Config | None = None) -> Any:
        """Our algorithm as the config has it, with the weights that all arms start from.

        Args:
            config: A variant of the config, with other recorders or losses.
        """
        with self.scope():
            torch.manual_seed(self.setting.seed)
            algorithm = build_from_config(copy.deepcopy(config or self.config))
        algorithm.load_state_dict(self._weights, strict=config is None)
        for key, model in algorithm.teacher_models().items():
            model.load_state_dict(self._teachers[key].state_dict())
        return algorithm.to(self.setting.device).train()

    def student(self) -> BaseModel:
        """The student as its library builds it, with the weights that all arms start from, in train mode."""
        with self.scope():
            model, _ = build_model(copy.deepcopy(self.config.model.architecture), 'architecture')
        prefix = 'architecture.'
        own = {name.removeprefix(prefix): value for name, value in self._weights.items() if name.startswith(prefix)}
        model.load_state_dict(own)
        return model.to(self.setting.device).train()

    def teacher(self) -> BaseModel:
        """The one teacher as its library builds it, with the weights that all arms have, in eval mode.

        Raises:
            LeftOut: There is none, or there are several.
        """
        if set(self._teachers) != {'teacher'}:
            raise LeftOut('there is no teacher, or there are several')
        teacher = copy.deepcopy(self._teachers['teacher']).to(self.setting.device)
        return teacher.eval().requires_grad_(False)

    def preprocessor(self) -> nn.Module:
        """The preprocessing of both models."""
        return copy.deepcopy(self.algorithm().data_preprocessor)

    def normalisation(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """What turns images of uint8, (N, 3, H, W), into those that both models want, as one writes it by hand."""
        preprocessor: Any = self.preprocessor()
        mean, std = getattr(preprocessor, 'mean', torch.zeros(1)), getattr(preprocessor, 'std', torch.ones(1))
        mean, std = mean.to(self.setting.device), std.to(self.setting.device)
        swap, device = bool(getattr(preprocessor, 'to_rgb', False)), self.setting.device

        def normalise(images: torch.Tensor) -> torch.Tensor:
            images = images.to(device)
            images = images.flip(1) if swap else images
            return (images.float() - mean) / std

        return normalise

    def batch(self) -> dict[str, Any]:
        """The batch as the data loader gives it: images of uint8 and their data samples, for each arm its own."""
        return self._collate(self.samples())

    def samples(self) -> list[Any]:
        """The samples of the batch, each as the pipeline packs it."""
        return copy.deepcopy(self._samples)

    def labels(self) -> torch.Tensor:
        """(N,) the classes of the batch."""
        return torch.arange(self.setting.batch, device=self.setting.device) % self.classes

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The config's optimiser, plain, with one group of parameters."""
        wrapper = self.config.optim_wrapper
        parts = [wrapper, *(part for part in wrapper.values() if isinstance(part, dict))]
        found = next((part['optimizer'] for part in parts if 'optimizer' in part), dict(type='SGD'))
        # schedules of OpenMMLab multiply it by numbers of their own; here it only has to be small
        options = {**found, 'lr': LEARNING_RATE, 'params': [weight for weight in parameters if weight.requires_grad]}
        with self.scope():
            return OPTIMIZERS.build(options)

    def optim_wrapper(self, model: nn.Module) -> Any:
        """The config's optimiser in the wrapper that training has, in the setting's precision.

        Args:
            model: What is trained.
        """
        config = copy.deepcopy(self.config)
        if self.setting.amp != 'none':
            _use_precision(config, self.setting)
        _set_learning_rate(config.optim_wrapper)
        with self.scope():
            return build_optim_wrapper(model, config.optim_wrapper)

    def _make_samples(self) -> list[Any]:
        """Images of noise, packed by the last step of the config's own pipeline."""
        random = np.random.default_rng(self.setting.seed)
        shape = (self.setting.size, self.setting.size)
        pipeline = pipeline_of((self.config.get('train_dataloader') or {}).get('dataset'))
        if not pipeline:
            raise UserError(Fault('CONFIG', 'a pipeline of images in train_dataloader', 'none', 'give one that trains'))
        pack = TRANSFORMS.build(pipeline[-1])
        samples = []
        for index in range(self.setting.batch):
            facts = dict(img_shape=shape, ori_shape=shape, sample_idx=index, img_path='', gt_label=index % self.classes)
            image = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
            sample = pack({**facts, 'img': image})
            # where a teacher cache has its row
            sample['data_samples'].set_metainfo(dict(teacher_row=index))
            samples.append(sample)
        return samples

    def _collate(self, samples: list[Any]) -> Any:
        collate = dict(self.config.train_dataloader.get('collate_fn') or dict(type='pseudo_collate'))
        with self.scope():
            return FUNCTIONS.get(collate.pop('type'))(samples, **collate)

    def _plain_teachers(self) -> dict[str, BaseModel]:
        """The teachers by the key path of their configs, as their library builds them."""
        model = self.config.model
        configs = {'teacher': model.teacher} if 'teacher' in model else {}
        for name, entry in (model.get('teachers') or {}).items():
            configs[f'teachers.{name}'] = entry.build_cfg
        torch.manual_seed(self.setting.seed + 1)
        return {key: build_model(copy.deepcopy(config), key)[0] for key, config in configs.items()}

    @torch.no_grad()
    def _settle(self, teacher: BaseModel, algorithm: Any) -> BaseModel:
        """Give a teacher what training would have: statistics of its BatchNorms, and logits that are apart.

        With those of a new model, activations fade layer by layer into numbers that a CPU computes slowly.
        """
        images = algorithm.data_preprocessor(self.batch(), True)['inputs']
        norms = [module for module in teacher.modules() if isinstance(module, _BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        # two: a BatchNorm over 1x1 maps needs more than one value per channel
        teacher.train()(images if len(images) > 1 else images.repeat(2, 1, 1, 1))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module in teacher.modules():
            if isinstance(module, nn.Linear) and module.out_features == self.classes:
                module.weight.mul_(LOGIT_SCALE)
        return teacher.eval().requires_grad_(False)


def usual_size(path: str, options: dict[str, Any] | None = None) -> int:
    """Height and width that the pipeline of a config gives its images, in pixels.

    Args:
        path: Of the config.
        options: As for :class:`Workload`.
    """
    config = load_config(path, options)
    complete_config(config)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        batch = probe_batch(config)
    inputs = batch['inputs'] if isinstance(batch, dict) else None
    return inputs[0].shape[-1] if inputs is not None else USUAL_SIZE


def read_config(path: str, options: dict[str, Any] | None) -> Config:
    """Read a config as for training, without weights to load.

    Args:
        path: The config.
        options: Values by key.

    Raises:
        UserError: It cannot be read, or does not train.
    """
    config = load_config(path, options)
    _leave_out_checkpoints(config.model)
    complete_config(config)
    if not isinstance(config.get('optim_wrapper'), dict):
        raise UserError(Fault('optim_wrapper', 'an optimiser in the config', 'none', 'give a config that trains'))
    return config


def _leave_out_checkpoints(node: Any) -> None:
    """Let no part of a model's config ask for weights: they do not change what a step costs."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == 'pretrained':
                node[key] = False
            elif key in CHECKPOINT_KEYS and not (key == 'init_cfg' and not any(beginnings({key: value}))):
                node[key] = None
            else:
                _leave_out_checkpoints(value)


def _classes(config: Config, algorithm: Any) -> int:
    """How many classes the images have."""
    head = getattr(algorithm.student, 'head', None)
    found = getattr(head, 'num_classes', None) or (config.get('data_preprocessor') or {}).get('num_classes')
    if not isinstance(found, int):
        advice = 'give a config of image classification'
        raise UserError(Fault('CONFIG', 'a student whose head has num_classes', 'none', advice))
    return found


def _use_precision(config: Config, setting: Setting) -> None:
    """What ``--amp`` of the training writes into the config, for the setting's device."""
    from kd_plugins.engine.mixed_precision import use_mixed_precision
    from kd_plugins.preflight.precision import optim_wrapper_parts

    use_mixed_precision(config, setting.amp)
    for _, part in optim_wrapper_parts(config):
        if setting.device == 'cpu':
            part['type'] = 'kd_plugins.CPUAmpOptimWrapper'


def _set_learning_rate(node: Any) -> None:
    for key, value in node.items():
        if isinstance(value, dict):
            _set_learning_rate(value)
        elif key == 'lr':
            node[key] = LEARNING_RATE
