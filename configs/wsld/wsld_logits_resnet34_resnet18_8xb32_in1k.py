# Weighted soft labels, ResNet-34 into ResNet-18, on ImageNet. https://arxiv.org/abs/2102.00650
# Temperature 2 and weight 2.5 are those of the authors' code, as are batch and learning rate.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/wsld/wsld_logits_resnet34_resnet18_8xb32_in1k.py 8
# Result: not measured.
_base_ = ['../_base_/resnet34_resnet18_in1k.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_wsld=dict(
                type='WSLD',
                tau=2,
                loss_weight=2.5,
                student=dict(
                    student='head.fc', gt_labels=dict(type='ModuleInputs', source='head.loss_module', data_idx=1)
                ),
                teacher='head.fc',
            ),
        ),
    ),
)
