# FitNets hints at layer3 and layer4 and logit KD, ResNet-50 into ResNet-18, on ImageNet.
# As in MMRazor, kept to compare with it: hints and KD together, hints scaled to length 1, and a mean over 1000 classes
# that makes weight 10 of the divergence act as 0.01. The authors train on one hint first, then with temperature 3 and a
# weight from 4 to 1: fitnets_two_stage_resnet50_resnet18_8xb16_cifar10.py.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py 8
# Result: not measured. MMRazor reports 70.58 top-1 for these settings (student alone 69.90, teacher 76.55).
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/fitnets_resnet50_resnet18.py',
]

model = dict(
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py', pretrained=False),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb32_in1k.py', pretrained=True),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',
)

val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')
