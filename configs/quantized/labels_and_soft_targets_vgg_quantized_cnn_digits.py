# Purpose: the CNN in 4 bits learns from labels and, by tau squared, from a float teacher's softened probabilities
# (KD, https://arxiv.org/abs/1503.02531)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../quickstart/teacher_vgg_digits.py
# Launch: python tools/train.py configs/quantized/labels_and_soft_targets_vgg_quantized_cnn_digits.py
# Result: 98.11 ± 1.06% top-1 on the 899 test digits over 3 seeds, 98.48 ± 0.46 with tau=50; 97.22 ± 0.58 from labels
# alone
_base_ = ['./soft_targets_vgg_quantized_cnn_digits.py']

model = dict(
    calculate_student_loss=True,
    distiller=dict(distill_losses=dict(loss_soft=dict(mult_tem_square=True))),
)
