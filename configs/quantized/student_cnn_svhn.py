# Purpose: the student of the SVHN pair in float, no teacher: what its quantisation costs
# Needs: train_32x32.mat and test_32x32.mat in data/svhn, from http://ufldl.stanford.edu/housenumbers/
# Launch: python tools/train.py configs/quantized/student_cnn_svhn.py
# Result: not measured
_base_ = ['../_base_/svhn.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.PlainCNN', stages=((32, 32), (64, 64), (128, 128))),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128, topk=(1,)),
)
