# A ResNet-50 as teacher of a ResNet-18 on CIFAR-10; each method adds its losses.
_base_ = [
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    'mmpretrain::_base_/default_runtime.py',
]

model = dict(
    type='kd_plugins.SingleTeacherDistill',
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', pretrained=False),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb16_cifar10.py', pretrained=True),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_b16x8_cifar10_20210528-f54bfad9.pth',
    distiller=dict(type='kd_plugins.ConfigurableDistiller'),
)

val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')
