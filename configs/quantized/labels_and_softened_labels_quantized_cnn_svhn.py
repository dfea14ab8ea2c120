# Purpose: the CNN in 4 bits learns from labels and, by tau squared, from labels at a temperature; no teacher, a control
# Needs: train_32x32.mat and test_32x32.mat in data/svhn, from http://ufldl.stanford.edu/housenumbers/
# Launch: python tools/train.py configs/quantized/labels_and_softened_labels_quantized_cnn_svhn.py
# Result: not measured
_base_ = ['./labels_only_quantized_cnn_svhn.py']

model = dict(head=dict(loss=dict(type='kd_plugins.SoftenedCrossEntropy', tau=5)))
