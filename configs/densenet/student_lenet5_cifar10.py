# Purpose: the smallest student of this folder alone, LeNet-5 with ReLU and max-pooling
# Needs: data/cifar10/cifar-10-batches-py, the Python version of https://www.cs.toronto.edu/~kriz/cifar.html
# Launch: python tools/train.py configs/densenet/student_lenet5_cifar10.py
# Result: not measured
_base_ = ['./student_cnn3_cifar10.py']

model = dict(
    _delete_=True,
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.LeNet5'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=84, topk=(1,)),
)
