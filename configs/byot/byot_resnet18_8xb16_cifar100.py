# Be your own teacher, a ResNet-18 on CIFAR-100: classifiers at three stages learn from the last one.
# https://arxiv.org/abs/1905.08094
# MMRazor records the first call of a stage's last ReLU, within its block; this is the output of the stage.
# 0.3, 0.03 and temperature 3 are the authors', but their soft labels have no factor tau squared: loss_softl is 9 times
# theirs, as in MMRazor. The norm of loss_fet is over the batch of a process: of 16 images it is 0.35 of that over 128.
#
# Needs:  data/cifar100/cifar-100-python (the official Python files).
#         Elsewhere or offline: --cfg-options train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/byot/byot_resnet18_8xb16_cifar100.py 8
# Result: not measured.
_base_ = [
    'mmpretrain::_base_/datasets/cifar100_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    'mmpretrain::_base_/default_runtime.py',
    'mmrazor::_base_/datasets/mmcls/pipelines/auto_aug_cifar.py',
]

model = dict(
    type='kd_plugins.SelfDistill',
    architecture=dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18, num_stages=4, out_indices=(3,), style='pytorch'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=100, in_channels=512),
    ),
    distiller=dict(
        type='kd_plugins.BYOTDistiller',
        connectors={
            f'exit_{stage}': dict(
                type='kd_plugins.BYOTConnector',
                in_channel=width,
                out_channel=512,
                expansion=1,
                stride=2,
                num_classes=100,
            )
            for stage, width in ((1, 64), (2, 128), (3, 256))
        },
        distill_losses={
            f'loss_{kind}_{stage}': dict(
                **loss,
                student={
                    argument: dict(
                        source=f'backbone.layer{stage}',
                        connector=f'exit_{stage}',
                        connector_idx=index,
                    )
                },
                teacher=teacher,
            )
            for stage, weight in ((1, 0.03), (2, 0.03), (3, 0.0))
            for kind, loss, argument, index, teacher in (
                (
                    'fet',
                    dict(type='L2Loss', normalize=False, loss_weight=weight, dist=True),
                    's_feature',
                    0,
                    dict(source='neck', data_idx=0),
                ),
                (
                    'label',
                    dict(type='mmpretrain.CrossEntropyLoss', loss_weight=0.7),
                    'cls_score',
                    1,
                    dict(label=dict(type='ModuleInputs', source='head.loss_module', data_idx=1)),
                ),
                ('softl', dict(type='KLDivergence', tau=3, loss_weight=0.3), 'preds_S', 1, 'head.fc'),
            )
        },
    ),
)

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='Cutout', shape=16, pad_val=0),
    dict(
        type='AutoAugment',
        policies=[[{**step, '_scope_': 'mmpretrain'} for step in steps] for steps in _base_.policy_cifar],
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(weight_decay=0.0005))
param_scheduler = dict(milestones=[80, 160, 240])
train_cfg = dict(max_epochs=250)
val_cfg = dict(type='kd_plugins.SelfDistillValLoop')
