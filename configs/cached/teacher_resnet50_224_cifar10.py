# Purpose: the teacher of this folder, a new classifier on a ResNet-50 that was trained on ImageNet and stays as it is,
# its BatchNorm statistics included. CIFAR-10 at 224x224 pixels without augmentation; of the 50,000 training images the
# last 5,000 choose the best checkpoint, and no test image does
# Needs: data/cifar10/cifar-10-batches-py, the Python version of https://www.cs.toronto.edu/~kriz/cifar.html;
# the ImageNet weights are downloaded (elsewhere: --cfg-options model.backbone.init_cfg.checkpoint=PATH)
# Launch: python tools/train.py configs/cached/teacher_resnet50_224_cifar10.py
# Result: not measured
_base_ = ['./student_vgg_224_cifar10.py']

model = dict(
    _delete_=True,
    type='ImageClassifier',
    backbone=dict(
        type='ResNet',
        depth=50,
        frozen_stages=4,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',
            prefix='backbone',
        ),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=2048, topk=(1,)),
)

train_cfg = dict(max_epochs=10)
