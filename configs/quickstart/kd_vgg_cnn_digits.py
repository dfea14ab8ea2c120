# Purpose: logits of a five-layer CNN into a three-layer one, at temperature 4 (KD, https://arxiv.org/abs/1503.02531)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/kd_vgg_cnn_digits.py
# Result: 98.28 ± 0.45% top-1 on the 899 test digits over 8 seeds; 7 s of one core. Alone, the student has
# 97.44 ± 0.47 after as many iterations and 97.14 ± 0.61 after as much compute
_base_ = ['./student_cnn_digits.py']

teacher_ckpt = 'work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth'

model = dict(
    _delete_=True,
    type='kd_plugins.SingleTeacherDistill',
    architecture=_base_.model,
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(type='kd_plugins.PlainCNN', stages=((64, 64), (128, 128), (256,))),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=256, topk=(1,)),
    ),
    teacher_ckpt=teacher_ckpt,
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_kl=dict(type='KLDivergence', tau=4, student='head.fc', teacher='head.fc'),
        ),
    ),
)

val_cfg = dict(_delete_=True, type='kd_plugins.SingleTeacherDistillValLoop')
