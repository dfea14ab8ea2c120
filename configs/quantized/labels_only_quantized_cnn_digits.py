# Purpose: the CNN in 4-bit weights and activations (8 bits in the first and the last layer), from labels alone
# Needs: nothing
# Launch: python tools/train.py configs/quantized/labels_only_quantized_cnn_digits.py
# Result: 97.22 ± 0.58% top-1 on the 899 test digits over 3 seeds
_base_ = ['../quickstart/student_cnn_digits.py']

model = dict(
    backbone=dict(
        conv_cfg=dict(type='kd_plugins.QuantConv2d', weight_bits=4), act_cfg=dict(type='kd_plugins.QuantReLU', bits=4)
    ),
    head=dict(type='kd_plugins.QuantLinearClsHead', bits=8),
)
# Adam's eps far below the gradients of soft targets, which shrink with tau squared; all ways have the same
optim_wrapper = dict(optimizer=dict(eps=1e-12))
