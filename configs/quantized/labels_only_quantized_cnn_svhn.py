# Purpose: the CNN in 4-bit weights and activations (8 bits in the first and the last layer), from labels alone
# Needs: train_32x32.mat and test_32x32.mat in data/svhn, from http://ufldl.stanford.edu/housenumbers/
# Launch: python tools/train.py configs/quantized/labels_only_quantized_cnn_svhn.py
# Result: not measured
_base_ = ['./student_cnn_svhn.py']

model = dict(
    backbone=dict(
        conv_cfg=dict(type='kd_plugins.QuantConv2d', weight_bits=4), act_cfg=dict(type='kd_plugins.QuantReLU', bits=4)
    ),
    head=dict(type='kd_plugins.QuantLinearClsHead', bits=8),
)
