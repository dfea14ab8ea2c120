# Purpose: relations of the logits between classes and between samples (DIST, https://arxiv.org/abs/2205.10536)
# Weight 2 is the authors', temperature 4 that of their CIFAR-100 config
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/dist_vgg_cnn_digits.py
# Result: 98.41 ± 0.26% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_dist=dict(type='DISTLoss', tau=4, loss_weight=2, student='head.fc', teacher='head.fc'),
        ),
    ),
)
