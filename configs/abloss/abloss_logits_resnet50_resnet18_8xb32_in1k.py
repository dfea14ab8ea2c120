# Activation boundaries (AB), ResNet-50 into ResNet-18, on ImageNet: second stage, logit KD of the student of the
# first. https://arxiv.org/abs/1811.03233
# The mean over 1000 classes makes weight 6.25 act as 0.00625, at temperature 1; kept because MMRazor has it. The
# authors' second stage, on CIFAR-10, is the divergence at temperature 3 alone, without tau squared and without cross
# entropy.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
#         and what abloss_pretrain_backbone_resnet50_resnet18_8xb32_in1k.py leaves (model.init_cfg.checkpoint).
# Launch: bash tools/dist_train.sh configs/abloss/abloss_logits_resnet50_resnet18_8xb32_in1k.py 8
# Result: not measured.
_base_ = ['../_base_/resnet50_resnet18_in1k.py']

pretrained = 'work_dirs/abloss_pretrain_backbone_resnet50_resnet18_8xb32_in1k/epoch_20.pth'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    distiller=dict(
        distill_losses=dict(
            loss_kl=dict(type='KLDivergence', loss_weight=6.25, reduction='mean', student='head.fc', teacher='head.fc'),
        ),
    ),
)
