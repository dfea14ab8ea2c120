# Purpose: the student of this folder alone on images that need no download, three convolutions on 100 training digits
# Needs: nothing
# Launch: python tools/train.py configs/densenet/student_cnn3_digits.py
# Result: 96.17 ± 0.69% top-1 on the 899 test digits over 5 seeds
_base_ = ['../_base_/digits_16x16.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.PlainCNN', stages=((32,), (64,), (128,))),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128, topk=(1,)),
)

train_dataloader = dict(batch_size=16, dataset=dict(num_images=100), sampler=dict(type='InfiniteSampler', shuffle=True))

max_iters = 200
train_cfg = dict(by_epoch=False, max_iters=max_iters, val_interval=50)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05, fused=True))
# one cycle
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=0.3 * max_iters, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0.3 * max_iters, end=max_iters, by_epoch=False),
]
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(by_epoch=False))
log_processor = dict(by_epoch=False)
