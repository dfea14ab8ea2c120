"""Cases of the algorithms: losses and gradients of a step on small classifiers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from kd_plugins.algorithms.inplace import forbid_inplace
from kd_plugins.compat.parity.case import Difference, worst

BATCH = 4


def classifier(channels: int) -> dict[str, Any]:
    """A ResNet-18 for small images with few channels."""
    backbone = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=channels, base_channels=channels)
    head = dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=channels * 8)
    head['loss'] = dict(type='mmpretrain.CrossEntropyLoss')
    return dict(type='mmpretrain.ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)


def recorders(**sources: str) -> dict[str, Any]:
    """Recorders of what modules return."""
    return {name: dict(type='ModuleOutputs', source=source) for name, source in sources.items()}


def distiller(kind: str, losses: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    """A distiller; each loss has its config, then its records by argument."""
    return dict(
        type=kind,
        distill_losses={name: loss for name, (loss, _) in losses.items()},
        loss_forward_mappings={name: feeds for name, (_, feeds) in losses.items()},
        **parts,
    )


def record(recorder: str, from_student: bool, **choice: Any) -> dict[str, Any]:
    """Where an argument of a loss comes from."""
    return dict(recorder=recorder, from_student=from_student, **choice)


def widen(channels: tuple[int, int]) -> dict[str, Any]:
    """A connector to the teacher's channels."""
    return dict(type='ConvModuleConnector', in_channel=channels[0], out_channel=channels[1], norm_cfg=dict(type='BN'))


LOGITS = (
    dict(type='KLDivergence', tau=4),
    dict(preds_S=record('fc', True), preds_T=record('fc', False)),
)
SINGLE = distiller(
    'ConfigurableDistiller',
    {
        'loss_kl': LOGITS,
        'loss_s4': (
            dict(type='L2Loss', loss_weight=10),
            dict(
                s_feature=record('s4', True, record_idx=1, connector='widen'),
                t_feature=record('s4', False, record_idx=1),
            ),
        ),
    },
    student_recorders=recorders(s4='backbone.layer4.1.relu', fc='head.fc'),
    teacher_recorders=recorders(s4='backbone.layer4.1.relu', fc='head.fc'),
    connectors=dict(widen=widen((64, 96))),
)
NECK = distiller(
    'ConfigurableDistiller',
    {
        'loss_s4': (
            dict(type='ATLoss', loss_weight=100),
            dict(s_feature=record('s4', True, record_idx=1), t_feature=record('s4', False, record_idx=1)),
        )
    },
    student_recorders=recorders(s4='backbone.layer4.1.relu'),
    teacher_recorders=recorders(s4='backbone.layer4.1.relu'),
)
SELF = distiller(
    'BYOTDistiller',
    {
        'loss_softl': (
            dict(type='KLDivergence', tau=3),
            dict(
                preds_S=record('s3', True, record_idx=1, connector='byot', connector_idx=1), preds_T=record('fc', False)
            ),
        )
    },
    student_recorders=recorders(s3='backbone.layer3.1.relu'),
    teacher_recorders=recorders(fc='head.fc'),
    connectors=dict(
        byot=dict(
            type='BYOTConnector',
            in_channel=32,
            out_channel=64,
            expansion=1,
            kernel_size=3,
            stride=2,
            num_classes=5,
            pool_size=4,
        )
    ),
)
OVERHAUL = distiller(
    'OFDDistiller',
    {
        'loss_bn': (
            dict(type='OFDLoss', loss_weight=0.5),
            dict(s_feature=record('bn', True, connector='widen'), t_feature=record('bn', False, connector='margin')),
        )
    },
    student_recorders=recorders(bn='backbone.layer4.1.bn2'),
    teacher_recorders=recorders(bn='backbone.layer4.1.bn2'),
    connectors=dict(widen={**widen((64, 96)), 'act_cfg': None}, margin=dict(type='OFDTeacherConnector')),
)
IMAGINED = distiller(
    'ConfigurableDistiller',
    {'loss_kl': LOGITS},
    student_recorders=recorders(fc='head.fc'),
    teacher_recorders=recorders(fc='t.head.fc'),
)
MISLEAD = copy.deepcopy(IMAGINED)
MISLEAD['distill_losses']['loss_kl'].update(loss_weight=-1, teacher_detach=False)
TEACHER = dict(teacher=classifier(12))
DATA_FREE = dict(
    teachers=dict(t=dict(build_cfg=classifier(12))),
    generator=dict(type='DAFLGenerator', img_size=32, latent_dim=8, hidden_channels=8),
    distiller=IMAGINED,
    generator_distiller=MISLEAD,
)


@dataclass(frozen=True)
class AlgorithmCase:
    """An algorithm of both packages.

    Attributes:
        component: Registered name, the same in both packages.
        options: Arguments of both, without the student.
        label: What is special about this case.
        step: Whether the losses are those that a whole ``train_step`` logs.
        why: Why ours differs.
        differs: Whether our numbers are others than mmrazor's on purpose.
    """

    component: str
    options: Mapping[str, Any]
    label: str = ''
    step: bool = False
    why: str = ''
    differs: bool = False
    oracle: None = None

    def __str__(self) -> str:
        return ' '.join(filter(None, (self.component, self.label)))

    def measure(self, dtype: torch.dtype) -> Difference:
        """Run a step of both on the same weights, which come from mmrazor's checkpoint, and the same batch.

        Args:
            dtype: Precision of weights and images.

        Raises:
            ValueError: One has losses or gradients that the other has not.
        """
        torch.manual_seed(0)
        theirs, ours = (_build(package, self, dtype) for package in ('mmrazor', 'kd_plugins'))
        _spread(theirs)
        ours.load_state_dict(theirs.state_dict())
        for distiller in (theirs, ours):
            if hasattr(distiller.distiller, 'init_ofd_connectors'):
                distiller.distiller.init_ofd_connectors(distiller.teacher)
        if self.component == 'OverhaulFeatureDistillation':
            ours.distiller.prepare_from_teacher(ours.teacher)
        results = [_step(algorithm, self.step, dtype) for algorithm in (ours, theirs)]
        (our_losses, our_gradients), (their_losses, their_gradients) = results
        return Difference(worst(our_losses, their_losses), worst(our_gradients, their_gradients))


def _build(package: str, case: AlgorithmCase, dtype: torch.dtype) -> Any:
    config = dict(type=f'{package}.{case.component}', architecture=classifier(8), **copy.deepcopy(dict(case.options)))
    if package == 'kd_plugins' and dtype == torch.float32:
        # mmrazor knows one memory layout, and another one rounds differently; float64 shows that no more differs
        config['channels_last'] = False
    algorithm = MODELS.build(config).to(dtype)
    # mmrazor wants it, and since torch keeps the children of a module in a plain dict, does not find them
    forbid_inplace(algorithm)
    if package == 'mmrazor' and case.step:
        # mmrazor asks its generator for the wrapper of several processes
        algorithm.generator.__dict__['module'] = algorithm.generator
    return algorithm


def _spread(algorithm: nn.Module) -> None:
    """Weights of a model that was trained: logits apart, statistics and margins of BatchNorms not those of new ones."""
    for name, module in algorithm.named_modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.bias, std=0.3)
        if name.endswith('head.fc'):
            nn.init.normal_(module.weight, std=0.5)


def _step(algorithm: Any, whole: bool, dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    images = torch.randn(BATCH, 3, 32, 32, dtype=torch.float64).to(dtype)
    samples = [DataSample().set_gt_label(index) for index in range(BATCH)]
    algorithm.train()
    if whole:
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            log = algorithm.train_step(dict(inputs=list(images), data_samples=samples), _optimisers(algorithm))
        finally:
            torch.set_default_dtype(default)
        return {name: torch.as_tensor(value).detach() for name, value in log.items()}, {}
    losses = algorithm(images, samples, mode='loss')
    total, _ = algorithm.parse_losses(losses)
    total.backward()
    gradients = {name: weight.grad for name, weight in algorithm.named_parameters() if weight.grad is not None}
    return {name: value.detach() for name, value in losses.items()}, gradients


def _optimisers(algorithm: Any) -> OptimWrapperDict:
    parts = {
        name: torch.optim.SGD(getattr(algorithm, name).parameters(), 0.01) for name in ('architecture', 'generator')
    }
    return OptimWrapperDict(**{name: OptimWrapper(optimizer) for name, optimizer in parts.items()})


ALGORITHM_CASES = [
    AlgorithmCase('SingleTeacherDistill', dict(distiller=SINGLE, **TEACHER)),
    AlgorithmCase(
        'SingleTeacherDistill', dict(distiller=SINGLE, teacher_trainable=True, **TEACHER), 'trainable teacher'
    ),
    AlgorithmCase(
        'SingleTeacherDistill',
        dict(distiller=SINGLE, calculate_student_loss=False, student_trainable=False, **TEACHER),
        'connectors alone',
    ),
    AlgorithmCase('FpnTeacherDistill', dict(distiller=NECK, **TEACHER)),
    AlgorithmCase('SelfDistill', dict(distiller=SELF)),
    AlgorithmCase('OverhaulFeatureDistillation', dict(distiller=OVERHAUL, **TEACHER)),
    AlgorithmCase('DataFreeDistillation', dict(DATA_FREE), step=True),
    AlgorithmCase('DataFreeDistillation', dict(DATA_FREE, student_train_first=True), 'student first', step=True),
    AlgorithmCase('DAFLDataFreeDistillation', dict(DATA_FREE), step=True),
]
