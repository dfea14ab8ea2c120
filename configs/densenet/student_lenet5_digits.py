# Purpose: the smallest student of this folder alone, LeNet-5 with ReLU and max-pooling on 100 training digits
# Needs: nothing
# Launch: python tools/train.py configs/densenet/student_lenet5_digits.py
# Result: 92.50 ± 0.80% top-1 on the 899 test digits over 5 seeds
_base_ = ['./student_cnn3_digits.py']

model = dict(
    _delete_=True,
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.LeNet5'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=84, topk=(1,)),
)

max_iters = 300
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=0.3 * max_iters, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0.3 * max_iters, end=max_iters, by_epoch=False),
]
