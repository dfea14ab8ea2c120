# Purpose: logits of a DenseNet-BC into three convolutions (KD, https://arxiv.org/abs/1503.02531):
# alpha tau^2 KL + (1 - alpha) CE, the KL summed over the classes and averaged over the images
# Needs: work_dirs/teacher_densenet100_digits/epoch_16.pth, of teacher_densenet100_digits.py
# Launch: python tools/train.py configs/densenet/kd_densenet100_cnn3_digits.py
# python tools/sweep.py configs/densenet/kd_densenet100_cnn3_digits.py --grid tau=4,20 \
#     --baseline configs/densenet/student_cnn3_digits.py
# Result: 96.28 ± 0.72% top-1 on the 899 test digits over 5 seeds, 96.15 ± 0.57 with tau=4; 96.17 ± 0.69 for the student
# alone
_base_ = ['./student_cnn3_digits.py']

teacher_ckpt = 'work_dirs/teacher_densenet100_digits/epoch_16.pth'
alpha = 0.9

model = dict(
    _delete_=True,
    type='kd_plugins.SingleTeacherDistill',
    architecture=_base_.model,
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(type='kd_plugins.DenseNetBC', depth=100, growth_rate=12),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=342, topk=(1,)),
    ),
    teacher_ckpt=teacher_ckpt,
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_kl=dict(type='KLDivergence', tau=20, loss_weight=alpha, student='head.fc', teacher='head.fc'),
        ),
    ),
)
model['architecture']['head']['loss'] = dict(type='CrossEntropyLoss', loss_weight=1 - alpha)

val_cfg = dict(_delete_=True, type='kd_plugins.SingleTeacherDistillValLoop')
