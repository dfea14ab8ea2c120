# FitNets in the paper's two stages (https://arxiv.org/abs/1412.6550), ResNet-50 into ResNet-18, on CIFAR-10: hints
# train the student up to layer2 for 50 epochs, then the whole of it learns from labels and softened logits, whose
# weight goes from 4 to 1, for the 200 epochs of mmpretrain's schedule.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/fitnets/fitnets_two_stage_resnet50_resnet18_8xb16_cifar10.py 8
# Result: not measured. mmpretrain reports 94.82 top-1 for the student alone and 95.55 for the teacher.
_base_ = ['../_base_/resnet50_resnet18_cifar10.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_hint=dict(
                type='L2Loss',
                normalize=False,
                div_element=True,
                student='backbone.layer2',
                teacher='backbone.layer2',
                connector='auto',
            ),
            loss_kd=dict(type='KDSoftCELoss', tau=3, mult_tem_square=False, student='head.fc', teacher='head.fc'),
        ),
    ),
)

hints, max_epochs = 50, 250
custom_hooks = [
    dict(
        type='kd_plugins.DistillScheduleHook',
        stages=[
            dict(
                end=hints,
                losses=dict(loss_kd=0, student=0),
                trained=[
                    *(f'architecture.backbone.{name}' for name in ('conv1', 'bn1', 'layer1', 'layer2')),
                    'distiller.connectors',
                ],
            ),
            dict(
                losses=dict(loss_hint=0, loss_kd=dict(start_factor=4, end_factor=1, over=max_epochs - hints)),
                trained=['architecture'],
            ),
        ],
    ),
]

train_cfg = dict(max_epochs=max_epochs)
param_scheduler = dict(milestones=[hints + 100, hints + 150])
