# Purpose: logits as soft labels of a cross entropy, at temperature 4 (KD, https://arxiv.org/abs/1503.02531)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/kd_soft_ce_vgg_cnn_digits.py
# Result: 98.07 ± 0.53% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_kd=dict(type='KDSoftCELoss', tau=4, student='head.fc', teacher='head.fc'),
        ),
    ),
)
