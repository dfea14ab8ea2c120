# Purpose: FitNets in the paper's two stages (https://arxiv.org/abs/1412.6550): hints train the student up to stage 1,
# then the whole of it learns from labels and softened logits, whose weight goes from 4 to 1
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../quickstart/teacher_vgg_digits.py
# Launch: python tools/train.py configs/fitnets/fitnets_two_stage_vgg_cnn_digits.py
# Result: 97.58 ± 0.40% top-1 on the 899 test digits over 5 seeds; 97.46 ± 0.49 for the student alone
_base_ = ['../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_hint=dict(
                type='L2Loss',
                normalize=False,
                div_element=True,
                student='backbone.stages.1',
                teacher='backbone.stages.1',
                connector='auto',
            ),
            loss_kd=dict(type='KDSoftCELoss', tau=3, mult_tem_square=False, student='head.fc', teacher='head.fc'),
        ),
    ),
)

hints = 60
custom_hooks = [
    dict(
        type='kd_plugins.DistillScheduleHook',
        by_epoch=False,
        stages=[
            dict(
                end=hints,
                losses=dict(loss_kd=0, student=0),
                trained=['architecture.backbone.stages.0', 'architecture.backbone.stages.1', 'distiller.connectors'],
            ),
            dict(
                losses=dict(loss_hint=0, loss_kd=dict(start_factor=4, end_factor=1, over=_base_.max_iters - hints)),
                trained=['architecture'],
            ),
        ],
    ),
]
