# Purpose: data, schedule and runtime of the cropped Street View House Numbers, for networks that take 32x32
# Needs: train_32x32.mat and test_32x32.mat in data/svhn, from http://ufldl.stanford.edu/housenumbers/
# Launch: a part for other configs, not run alone
_base_ = ['./digits.py']

# RGB, as kd_plugins.SVHN gives it
data_preprocessor = dict(mean=[111.6, 113.2, 120.6], std=[50.5, 51.3, 50.2])

train_pipeline = [dict(type='RandomCrop', crop_size=32, padding=4), dict(type='PackInputs')]
test_pipeline = [dict(type='PackInputs')]
data_root = 'data/svhn'

# the last 6,000 training images validate
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='kd_plugins.SVHN',
        data_root=data_root,
        split='train',
        indices=67257,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=500,
    dataset=dict(
        _delete_=True,
        type='kd_plugins.SVHN',
        data_root=data_root,
        split='train',
        indices=-6000,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=500,
    dataset=dict(_delete_=True, type='kd_plugins.SVHN', data_root=data_root, split='test', pipeline=test_pipeline),
)

max_epochs = 20
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05, eps=1e-12, fused=True))
# one cycle
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=0.3 * max_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=0.3 * max_epochs, end=max_epochs, convert_to_iter_based=True),
]
default_hooks = dict(logger=dict(interval=50))
