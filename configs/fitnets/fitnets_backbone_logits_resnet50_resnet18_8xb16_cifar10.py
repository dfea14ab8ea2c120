# FitNets hints at layer3 and layer4 and logit KD, ResNet-50 into ResNet-18, on CIFAR-10.
# As in MMRazor's ImageNet config: hints and KD together, hints scaled to length 1, and a mean over 10 classes that
# makes weight 10 of the divergence act as 1. The authors' two stages are in
# fitnets_two_stage_resnet50_resnet18_8xb16_cifar10.py.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb16_cifar10.py 8
# Result: not measured. mmpretrain reports 94.82 top-1 for the student alone and 95.55 for the teacher.
_base_ = [
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/fitnets_resnet50_resnet18.py',
]

model = dict(
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', pretrained=False),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb16_cifar10.py', pretrained=True),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_b16x8_cifar10_20210528-f54bfad9.pth',
)

val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')
