# Purpose: correlation of the last stage's maps (PKD, https://arxiv.org/abs/2207.02039)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/pkd_vgg_cnn_digits.py
# Result: 98.63 ± 0.17% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_pkd=dict(
                type='PKDLoss',
                loss_weight=6,
                student='backbone.stages.2',
                teacher='backbone.stages.2',
                connector='auto',
            ),
        ),
    ),
)
