# Decoupled KD with the authors' weights, ResNet-34 into ResNet-18, on ImageNet. https://arxiv.org/abs/2203.08679 As in
# mdistiller's configs/imagenet/r34_r18/dkd.yaml: alpha 1, beta 0.5, temperature 1, the mean over the batch, weight 1 of
# the cross entropy, 100 epochs. MMRazor's weight, 32 times this one, is in dkd-sum_resnet34_resnet18_8xb32_in1k.py.
# Different from theirs: batch 256 at learning rate 0.1, where they have 512 at 0.2; and the warm-up. Their file asks
# for one epoch, but their code takes min(epoch / 1, 1) with epochs counted from 1, which is 1 from the start. Here the
# weight rises with the iterations of the first epoch; custom_hooks=[] leaves that out.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/dkd/dkd_resnet34_resnet18_8xb32_in1k.py 8
# Result: not measured. The authors report 71.70 top-1.
_base_ = ['../_base_/resnet34_resnet18_in1k.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_dkd=dict(
                type='DKDLoss',
                tau=1,
                alpha=1,
                beta=0.5,
                loss_weight=1,
                reduction='batchmean',
                student=dict(
                    preds_S='head.fc', gt_labels=dict(type='ModuleInputs', source='head.loss_module', data_idx=1)
                ),
                teacher='head.fc',
            ),
        ),
    ),
)

custom_hooks = [
    dict(
        type='kd_plugins.DistillScheduleHook',
        by_epoch=False,
        # an epoch of 1,281,167 images in batches of 8 x 32
        stages=[dict(losses=dict(loss_dkd=dict(start_factor=0, end_factor=1, over=5005)))],
    ),
]
