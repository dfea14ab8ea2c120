# Decoupled KD with MMRazor's weight, ResNet-34 into ResNet-18, on ImageNet. https://arxiv.org/abs/2203.08679
# MMRazor's config says reduction='mean', but its DKDLoss sums over the batch of a process: with 32 images that is 32
# times the weight of the authors, whose recipe is dkd_resnet34_resnet18_8xb32_in1k.py, and it grows with the batch.
# Kept to compare with MMRazor, which reports 71.37 top-1; it has no warm-up either.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/dkd/dkd-sum_resnet34_resnet18_8xb32_in1k.py 8
# Result: not measured.
_base_ = ['./dkd_resnet34_resnet18_8xb32_in1k.py']

model = dict(distiller=dict(distill_losses=dict(loss_dkd=dict(reduction='sum'))))
custom_hooks = []
