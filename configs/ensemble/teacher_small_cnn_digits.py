# Purpose: one of ten small teachers, four convolutions on all 718 training digits; a sweep trains it with ten seeds
# Needs: nothing
# Launch: python tools/sweep.py configs/ensemble/teacher_small_cnn_digits.py --seeds 10
# --work-dir work_dirs/ensemble_teachers
# Result: 99.40 ± 0.24% top-1 on the 899 test digits over 10 seeds
_base_ = ['../quickstart/teacher_vgg_digits.py']

model = dict(backbone=dict(stages=((32, 32), (64,), (128,))), head=dict(in_channels=128))

max_iters = 600
train_cfg = dict(max_iters=max_iters, val_interval=200)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=0.3 * max_iters, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0.3 * max_iters, end=max_iters, by_epoch=False),
]
