# Purpose: the teacher of this folder, DenseNet-BC (depth 100, growth 12) with the schedule of its paper
# (https://arxiv.org/abs/1608.06993): 300 epochs in batches of 64, the rate a tenth at half and at three quarters
# Needs: data/cifar10/cifar-10-batches-py, the Python version of https://www.cs.toronto.edu/~kriz/cifar.html
# Launch: python tools/train.py configs/densenet/teacher_densenet100_cifar10.py
# Result: not measured. The paper reports 4.51% error for this network with this augmentation
_base_ = [
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.DenseNetBC', depth=100, growth_rate=12),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=342, topk=(1,)),
)

train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=256)
test_dataloader = dict(batch_size=256)

max_epochs = 300
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4))
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[max_epochs // 2, 3 * max_epochs // 4], gamma=0.1)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
