# Logit KD (Hinton et al.), ResNet-34 into ResNet-18, on CIFAR-10.
# Temperature 1 and weight 3 are those of MMRazor's ImageNet config; for CIFAR-100, the authors of CRD and mdistiller
# take temperature 4, and 0.9 of the divergence to 0.1 of the cross entropy.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/kd/kd_logits_resnet34_resnet18_8xb16_cifar10.py 8
# Result: not measured. mmpretrain reports 94.82 top-1 for the student alone and 95.34 for the teacher.
_base_ = [
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/kd_logits.py',
]

model = dict(
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', pretrained=False),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet34_8xb16_cifar10.py', pretrained=True),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet34_b16x8_cifar10_20210528-a8aa36a6.pth',
)

val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')
