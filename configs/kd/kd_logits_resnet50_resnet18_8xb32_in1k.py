# Logit KD (Hinton et al.), ResNet-50 into ResNet-18, on ImageNet. https://arxiv.org/abs/1503.02531
# Temperature 1 and weight 3 are those of MMRazor's logit KD; mdistiller, with other pairs, takes temperature 1 and
# weighs the divergence and the cross entropy alike, 0.5 each.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/kd/kd_logits_resnet50_resnet18_8xb32_in1k.py 8
# Result: not measured. docs/performance.md has the cost of its step.
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/kd_logits.py',
]

model = dict(
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py', pretrained=False),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb32_in1k.py', pretrained=True),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',
)

val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')
