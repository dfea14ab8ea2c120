# Relational KD, ResNet-34 into ResNet-18, on ImageNet. https://arxiv.org/abs/1904.05068
# Weights 25 and 50 are those of RepDistiller and mdistiller for CIFAR-100, at MMRazor's batch of 32 a process; the
# authors' code takes 1 and 2, for metric learning. Features are scaled to length 1 first, as in MMRazor and not in
# mdistiller.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/rkd/rkd_neck_resnet34_resnet18_8xb32_in1k.py 8
# Result: not measured.
_base_ = ['../_base_/resnet34_resnet18_in1k.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_dw=dict(
                type='DistanceWiseRKD', with_l2_norm=True, loss_weight=25, student='neck.gap', teacher='neck.gap'
            ),
            loss_aw=dict(
                type='AngleWiseRKD', with_l2_norm=True, loss_weight=50, student='neck.gap', teacher='neck.gap'
            ),
        ),
    ),
)
