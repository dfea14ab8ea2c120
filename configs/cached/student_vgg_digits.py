# Purpose: the student of this folder alone on images that need no download: 100 training digits at 32x32 pixels without
# augmentation, the best checkpoint chosen on the validation digits
# Needs: nothing
# Launch: python tools/train.py configs/cached/student_vgg_digits.py
# Result: 88.94 ± 0.69% top-1 on the 899 test digits over 5 seeds
_base_ = ['../_base_/digits_32x32.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.PlainCNN', stages=((64, 64), (128, 128)), norm_cfg=None, pool_last=True),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='StackedLinearClsHead', num_classes=10, in_channels=128, mid_channels=[32], act_cfg=None, topk=(1,)),
)

train_dataloader = dict(batch_size=10, dataset=dict(num_images=100, pipeline=_base_.test_pipeline))

train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=4)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
