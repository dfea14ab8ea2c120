# Purpose: the small CNN without a teacher, for as long as 300 iterations of distillation take
# Needs: nothing
# Launch: python tools/train.py configs/quickstart/student_cnn_digits_same_compute.py
# Result: 97.15 ± 0.42% top-1 on the 899 test digits over 8 seeds; 11 s of one core
_base_ = ['./student_cnn_digits.py']

max_iters = 540
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=0.3 * max_iters, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0.3 * max_iters, end=max_iters, by_epoch=False),
]
