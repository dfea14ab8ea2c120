# Purpose: the float teacher of the quantised CNN on Street View House Numbers, six plain convolutions
# Needs: train_32x32.mat and test_32x32.mat in data/svhn, from http://ufldl.stanford.edu/housenumbers/
# Launch: python tools/train.py configs/quantized/teacher_vgg_svhn.py
# Result: not measured
_base_ = ['../_base_/svhn.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.PlainCNN', stages=((64, 64), (128, 128), (256, 256))),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=256, topk=(1,)),
)
