# Purpose: the teacher of this folder on images that need no download, DenseNet-BC (depth 100, growth 12,
# https://arxiv.org/abs/1608.06993) on all 718 training digits, enlarged to 16x16 pixels
# Needs: nothing
# Launch: python tools/train.py configs/densenet/teacher_densenet100_digits.py
# Result: 99.44% top-1 on the 899 test digits with seed 0
_base_ = ['../_base_/digits_16x16.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.DenseNetBC', depth=100, growth_rate=12),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=342, topk=(1,)),
)

max_epochs = 16
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=4)
warmup_epochs = 0.3 * max_epochs
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05, fused=True))
# one cycle
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=warmup_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=warmup_epochs, end=max_epochs, convert_to_iter_based=True),
]
