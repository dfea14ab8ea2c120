# Purpose: distances and angles between the samples' pooled features (RKD, https://arxiv.org/abs/1904.05068)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/rkd_vgg_cnn_digits.py
# Result: 98.55 ± 0.33% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_distance=dict(type='DistanceWiseRKD', loss_weight=25, student='neck.gap', teacher='neck.gap'),
            loss_angle=dict(type='AngleWiseRKD', loss_weight=50, student='neck.gap', teacher='neck.gap'),
        ),
    ),
)
