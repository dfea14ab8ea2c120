# DIST, ResNet-34 into ResNet-18, on ImageNet. https://arxiv.org/abs/2205.10536
# Temperature 1 and weights 1, 1 and 2 are those of the authors' code (resnet_dist.yaml).
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/dist/dist_logits_resnet34_resnet18_8xb32_in1k.py 8
# Result: not measured.
_base_ = ['../_base_/resnet34_resnet18_in1k.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_kl=dict(type='DISTLoss', tau=1, loss_weight=2, student='head.fc', teacher='head.fc'),
        ),
    ),
)

optim_wrapper = dict(optimizer=dict(nesterov=True))
