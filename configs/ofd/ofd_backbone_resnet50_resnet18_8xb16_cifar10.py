# Overhaul of feature distillation, on CIFAR-10. The name is MMRazor's; as there, a WideResNet-28-4 teaches a
# WideResNet-16-2, a backbone of the mmrazor package. https://arxiv.org/abs/1904.01866
# Weights 1/4, 1/2 and 1, over 1000, are those of the authors' code for CIFAR-100; it has weight decay 5e-4 and
# Nesterov's momentum, where this has mmpretrain's schedule.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/ofd/ofd_backbone_resnet50_resnet18_8xb16_cifar10.py 8
# Result: not measured.
_base_ = [
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    'mmpretrain::_base_/default_runtime.py',
]

student = dict(
    type='ImageClassifier',
    backbone=dict(type='mmrazor.WideResNet', depth=16, num_stages=3, widen_factor=2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128),
)
teacher = dict(
    type='ImageClassifier',
    backbone=dict(type='mmrazor.WideResNet', depth=28, num_stages=3, widen_factor=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=256),
)
regressor = dict(type='kd_plugins.ConvModuleConnector', norm_cfg=dict(type='BN'), act_cfg=None)
margin = dict(type='kd_plugins.OFDTeacherConnector')
model = dict(
    type='kd_plugins.OverhaulFeatureDistillation',
    architecture=student,
    teacher=teacher,
    teacher_ckpt='https://download.openmmlab.com/mmrazor/v1/wide_resnet/wrn28_4_b16x8_cifar10_20220831_173536-d6f8725c.pth',
    distiller=dict(
        type='kd_plugins.OFDDistiller',
        distill_losses={
            name: dict(
                type='OFDLoss',
                loss_weight=weight,
                student=norm,
                teacher=dict(source=norm, connector=margin),
                connector=regressor,
            )
            for name, weight, norm in (
                ('loss_1', 0.25, 'backbone.layer2.0.bn1'),
                ('loss_2', 0.5, 'backbone.layer3.0.bn1'),
                ('loss_3', 1.0, 'backbone.bn1'),
            )
        },
    ),
)

val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')
