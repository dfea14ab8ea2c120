# Purpose: the student of this folder alone, two blocks of two 3x3 convolutions to 64 and 128 channels with 2x2
# max-pooling after each, and a classifier of two linear layers with nothing between. CIFAR-10 at 224x224 pixels without
# augmentation; of the 50,000 training images the last 5,000 choose the best checkpoint, and no test image does
# Needs: data/cifar10/cifar-10-batches-py, the Python version of https://www.cs.toronto.edu/~kriz/cifar.html
# Launch: python tools/train.py configs/cached/student_vgg_224_cifar10.py
# Result: not measured
_base_ = [
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.PlainCNN', stages=((64, 64), (128, 128)), norm_cfg=None, pool_last=True),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='StackedLinearClsHead', num_classes=10, in_channels=128, mid_channels=[32], act_cfg=None, topk=(1,)),
)

# of ImageNet, which the teacher was trained with; the images are RGB already
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
pipeline = [dict(type='Resize', scale=(224, 224)), dict(type='PackInputs')]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=pipeline, indices=45000))
val_dataloader = dict(
    batch_size=64, dataset=dict(data_root='data/cifar10', split='train', pipeline=pipeline, indices=-5000)
)
test_dataloader = dict(batch_size=64, dataset=dict(pipeline=pipeline))

train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best='accuracy/top1'))
