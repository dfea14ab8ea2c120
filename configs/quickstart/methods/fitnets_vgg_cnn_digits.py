# Purpose: hints of stage 1 through a regressor (FitNets, https://arxiv.org/abs/1412.6550); in one stage, beside
# the student's own loss, where the paper trains the lower half on the hints first
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/fitnets_vgg_cnn_digits.py
# Result: 97.22 ± 0.40% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_hint=dict(
                type='L2Loss',
                normalize=False,
                div_element=True,
                loss_weight=1,
                student='backbone.stages.1',
                teacher='backbone.stages.1',
                connector='auto',
            ),
        ),
    ),
)
