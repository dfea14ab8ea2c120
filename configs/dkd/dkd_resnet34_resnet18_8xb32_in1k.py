# Decoupled KD, ResNet-34 into ResNet-18, on ImageNet. https://arxiv.org/abs/2203.08679
# MMRazor's DKDLoss sums over the batch where it says 'mean': 'sum' is what its config computes.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/dkd/dkd_resnet34_resnet18_8xb32_in1k.py 8
# Result: not measured.
_base_ = ['../_base_/resnet34_resnet18_in1k.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_dkd=dict(
                type='DKDLoss',
                tau=1,
                beta=0.5,
                loss_weight=1,
                reduction='sum',
                student=dict(
                    preds_S='head.fc', gt_labels=dict(type='ModuleInputs', source='head.loss_module', data_idx=1)
                ),
                teacher='head.fc',
            ),
        ),
    ),
)
