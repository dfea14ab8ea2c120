# Purpose: the teacher of this folder on images that need no download, a new classifier on the quickstart's ResNet-50,
# which stays as it is; all 718 training digits without augmentation
# Needs: work_dirs/quickstart/teacher_resnet50_digits/epoch_20.pth, which make quickstart leaves
# Launch: python tools/train.py configs/cached/teacher_resnet50_frozen_digits.py
# Result: 98.67% top-1 on the 899 test digits with seed 0
_base_ = ['../_base_/digits_32x32.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet',
        depth=50,
        frozen_stages=4,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/quickstart/teacher_resnet50_digits/epoch_20.pth',
            prefix='backbone',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=2048, topk=(1,)),
)

train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.test_pipeline))

train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=1)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
