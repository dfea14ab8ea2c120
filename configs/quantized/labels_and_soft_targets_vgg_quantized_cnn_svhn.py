# Purpose: the CNN in 4 bits learns from labels and, by tau squared, from a float teacher's softened probabilities
# (KD, https://arxiv.org/abs/1503.02531)
# Needs: work_dirs/teacher_vgg_svhn/epoch_20.pth, of teacher_vgg_svhn.py; data as labels_only_quantized_cnn_svhn.py
# Launch: python tools/train.py configs/quantized/labels_and_soft_targets_vgg_quantized_cnn_svhn.py
# Result: not measured
_base_ = ['./soft_targets_vgg_quantized_cnn_svhn.py']

model = dict(
    calculate_student_loss=True,
    distiller=dict(distill_losses=dict(loss_soft=dict(mult_tem_square=True))),
)
