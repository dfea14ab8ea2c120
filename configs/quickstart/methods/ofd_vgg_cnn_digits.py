# Purpose: all three stages before their ReLUs, beyond a margin (OFD, https://arxiv.org/abs/1904.01866)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/ofd_vgg_cnn_digits.py
# Result: 98.74 ± 0.46% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

regressor = dict(type='kd_plugins.ConvModuleConnector', norm_cfg=dict(type='BN'), act_cfg=None)
margin = dict(type='kd_plugins.OFDTeacherConnector')
model = dict(
    type='kd_plugins.OverhaulFeatureDistillation',
    distiller=dict(
        type='kd_plugins.OFDDistiller',
        distill_losses=dict(
            loss_0=dict(
                type='OFDLoss',
                loss_weight=0.25,
                student='backbone.stages.0.0.bn',
                teacher=dict(source='backbone.stages.0.1.bn', connector=margin),
                connector=regressor,
            ),
            loss_1=dict(
                type='OFDLoss',
                loss_weight=0.5,
                student='backbone.stages.1.0.bn',
                teacher=dict(source='backbone.stages.1.1.bn', connector=margin),
                connector=regressor,
            ),
            loss_2=dict(
                type='OFDLoss',
                loss_weight=1.0,
                student='backbone.stages.2.0.bn',
                teacher=dict(source='backbone.stages.2.0.bn', connector=margin),
                connector=regressor,
            ),
        ),
    ),
)
