# Purpose: the CNN in 4 bits learns from a float teacher's softened probabilities alone, without labels and without
# the factor tau squared (KD, https://arxiv.org/abs/1503.02531)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../quickstart/teacher_vgg_digits.py
# Launch: python tools/train.py configs/quantized/soft_targets_vgg_quantized_cnn_digits.py
# Result: 98.03 ± 0.67% top-1 on the 899 test digits over 3 seeds, 98.74 ± 0.46 with tau=50; 97.22 ± 0.58 from labels
# alone
_base_ = ['./labels_only_quantized_cnn_digits.py']

model = dict(
    _delete_=True,
    type='kd_plugins.SingleTeacherDistill',
    calculate_student_loss=False,
    architecture=_base_.model,
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(type='kd_plugins.PlainCNN', stages=((64, 64), (128, 128), (256,))),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=256, topk=(1,)),
    ),
    teacher_ckpt='work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth',
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_soft=dict(type='KDSoftCELoss', tau=5, mult_tem_square=False, student='head.fc', teacher='head.fc'),
        ),
    ),
)

val_cfg = dict(_delete_=True, type='kd_plugins.SingleTeacherDistillValLoop')
