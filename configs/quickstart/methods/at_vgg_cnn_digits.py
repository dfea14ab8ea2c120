# Purpose: attention maps of all three stages (AT, https://arxiv.org/abs/1612.03928), beta = 100; 1000 in the paper
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/at_vgg_cnn_digits.py
# Result: 97.11 ± 0.48% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_0=dict(type='ATLoss', loss_weight=50, student='backbone.stages.0', teacher='backbone.stages.0'),
            loss_1=dict(type='ATLoss', loss_weight=50, student='backbone.stages.1', teacher='backbone.stages.1'),
            loss_2=dict(type='ATLoss', loss_weight=50, student='backbone.stages.2', teacher='backbone.stages.2'),
        ),
    ),
)
