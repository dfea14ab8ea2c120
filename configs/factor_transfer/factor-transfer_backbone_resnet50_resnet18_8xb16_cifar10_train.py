# Factor transfer, ResNet-50 into ResNet-18, on CIFAR-10: second stage, from the paraphraser of the first.
# https://arxiv.org/abs/1802.04977
# Weight 1 is MMRazor's, kept to compare with it. The authors' code for CIFAR-10 has 500 for the same loss: 500 times
# that.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
#         and what factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_pretrain.py leaves.
# Launch: bash tools/dist_train.sh \
#             configs/factor_transfer/factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_train.py 8
# Result: not measured.
_base_ = ['../_base_/resnet50_resnet18_cifar10.py']

pretrained = 'work_dirs/factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_pretrain/epoch_20.pth'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    distiller=dict(
        connectors=dict(
            paraphraser=dict(type='kd_plugins.Paraphraser', in_channel=2048, out_channel=1024, phase='train')
        ),
        distill_losses=dict(
            loss_s4=dict(
                type='FTLoss',
                loss_weight=1.0,
                student=dict(
                    source='backbone.layer4.1.conv2',
                    connector=dict(type='kd_plugins.Translator', in_channel=512, out_channel=1024),
                ),
                teacher=dict(source='backbone.layer4.2.conv3', connector='paraphraser'),
            ),
        ),
    ),
)
