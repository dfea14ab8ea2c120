# Factor transfer, ResNet-50 into ResNet-18, on CIFAR-10: first stage, 20 epochs in which the paraphraser learns to
# reconstruct what the teacher says, and nothing else. https://arxiv.org/abs/1802.04977
# As in MMRazor, the squared distance of features that are scaled to length 1; the authors' code has the L1 distance of
# the features as they are, and 5 epochs.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh \
#             configs/factor_transfer/factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_pretrain.py 8
# Result: not measured.
_base_ = ['../_base_/resnet50_resnet18_cifar10.py']

model = dict(
    student_trainable=False,
    calculate_student_loss=False,
    distiller=dict(
        connectors=dict(paraphraser=dict(type='kd_plugins.Paraphraser', in_channel=2048, out_channel=1024)),
        distill_losses=dict(
            loss_s4_pretrain=dict(
                type='L2Loss',
                loss_weight=1.0,
                teacher=dict(
                    s_feature='backbone.layer4.2.conv3',
                    t_feature=dict(source='backbone.layer4.2.conv3', connector='paraphraser'),
                ),
            ),
        ),
    ),
)

train_cfg = dict(max_epochs=20)
