# Purpose: the CNN in 4 bits learns from labels and, by tau squared, from labels at a temperature; no teacher, a control
# Needs: nothing
# Launch: python tools/train.py configs/quantized/labels_and_softened_labels_quantized_cnn_digits.py
# Result: 98.00 ± 0.11% top-1 on the 899 test digits over 3 seeds, 94.22 ± 3.06 with tau=50; 97.22 ± 0.58 from labels
# alone
_base_ = ['./labels_only_quantized_cnn_digits.py']

model = dict(head=dict(loss=dict(type='kd_plugins.SoftenedCrossEntropy', tau=5)))
