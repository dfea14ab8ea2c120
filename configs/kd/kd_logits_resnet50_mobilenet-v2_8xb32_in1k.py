# Logit KD (Hinton et al.), ResNet-50 into MobileNetV2, on ImageNet. https://arxiv.org/abs/1503.02531
# Temperature 1 and weight 3 are MMRazor's, kept to compare with it; mdistiller, with MobileNetV1, takes temperature 1
# and weighs the divergence and the cross entropy alike, 0.5 each.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/kd/kd_logits_resnet50_mobilenet-v2_8xb32_in1k.py 8
# Result: not measured.
_base_ = ['mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py']

model = dict(
    _delete_=True,
    type='kd_plugins.SingleTeacherDistill',
    architecture=_base_.model,
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb32_in1k.py', pretrained=True),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_kl=dict(type='KLDivergence', tau=1, loss_weight=3, student='head.fc', teacher='head.fc'),
        ),
    ),
)

val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')
