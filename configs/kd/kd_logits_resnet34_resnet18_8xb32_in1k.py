# Logit KD (Hinton et al.), ResNet-34 into ResNet-18, on ImageNet.
# Temperature 1 and weight 3 are MMRazor's, kept to compare with it; mdistiller takes temperature 1 and weighs the
# divergence and the cross entropy alike, 0.5 each; here the divergence counts 3 times as much as the cross entropy.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/kd/kd_logits_resnet34_resnet18_8xb32_in1k.py 8
# Result: not measured. MMRazor reports 71.81 top-1 for these settings (student alone 69.90, teacher 73.62).
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/kd_logits.py',
]

model = dict(
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py', pretrained=False),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet34_8xb32_in1k.py', pretrained=True),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet34_8xb32_in1k_20210831-f257d4e6.pth',
)

val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')
