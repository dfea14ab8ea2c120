# Purpose: the student of this folder alone, three convolutions to 32, 64 and 128 channels with 2x2 max-pooling between
# Needs: data/cifar10/cifar-10-batches-py, the Python version of https://www.cs.toronto.edu/~kriz/cifar.html
# Launch: python tools/train.py configs/densenet/student_cnn3_cifar10.py
# Result: not measured
_base_ = [
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.PlainCNN', stages=((32,), (64,), (128,))),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128, topk=(1,)),
)

train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=256)
test_dataloader = dict(batch_size=256)

max_epochs = 100
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[max_epochs // 2, 3 * max_epochs // 4], gamma=0.1)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
