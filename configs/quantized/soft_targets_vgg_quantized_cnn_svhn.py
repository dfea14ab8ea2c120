# Purpose: the CNN in 4 bits learns from a float teacher's softened probabilities alone, without labels and without
# the factor tau squared (KD, https://arxiv.org/abs/1503.02531)
# Needs: work_dirs/teacher_vgg_svhn/epoch_20.pth, of teacher_vgg_svhn.py; data as labels_only_quantized_cnn_svhn.py
# Launch: python tools/train.py configs/quantized/soft_targets_vgg_quantized_cnn_svhn.py
# Result: not measured
_base_ = ['./labels_only_quantized_cnn_svhn.py']

model = dict(
    _delete_=True,
    type='kd_plugins.SingleTeacherDistill',
    calculate_student_loss=False,
    architecture=_base_.model,
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(type='kd_plugins.PlainCNN', stages=((64, 64), (128, 128), (256, 256))),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=256, topk=(1,)),
    ),
    teacher_ckpt='work_dirs/teacher_vgg_svhn/epoch_20.pth',
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_soft=dict(type='KDSoftCELoss', tau=5, mult_tem_square=False, student='head.fc', teacher='head.fc'),
        ),
    ),
)

val_cfg = dict(_delete_=True, type='kd_plugins.SingleTeacherDistillValLoop')
