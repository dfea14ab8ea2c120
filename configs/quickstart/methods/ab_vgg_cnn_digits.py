# Purpose: which neurons fire, before the ReLUs of all three stages, and logits (AB, https://arxiv.org/abs/1811.03233);
# in one stage, beside the student's own loss, where the paper pretrains on the boundaries
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/ab_vgg_cnn_digits.py
# Result: 98.96 ± 0.45% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

regressor = dict(type='kd_plugins.ConvModuleConnector', norm_cfg=dict(type='BN'), act_cfg=None)
model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_0=dict(
                type='ABLoss',
                loss_weight=0.25,
                student='backbone.stages.0.0.bn',
                teacher='backbone.stages.0.1.bn',
                connector=regressor,
            ),
            loss_1=dict(
                type='ABLoss',
                loss_weight=0.5,
                student='backbone.stages.1.0.bn',
                teacher='backbone.stages.1.1.bn',
                connector=regressor,
            ),
            loss_2=dict(
                type='ABLoss',
                loss_weight=1.0,
                student='backbone.stages.2.0.bn',
                teacher='backbone.stages.2.0.bn',
                connector=regressor,
            ),
            loss_kl=dict(type='KLDivergence', tau=4, student='head.fc', teacher='head.fc'),
        ),
    ),
)
