# FitNets and logit KD between the last two stages and the classifiers of a ResNet-50 and a ResNet-18.
# The channels of the regressors are left out: the preflight works them out.
regressor = dict(type='kd_plugins.ConvModuleConnector', norm_cfg=dict(type='BN'))
model = dict(
    type='kd_plugins.SingleTeacherDistill',
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_s4=dict(
                type='L2Loss', loss_weight=10, student='backbone.layer4', teacher='backbone.layer4', connector=regressor
            ),
            loss_s3=dict(
                type='L2Loss', loss_weight=10, student='backbone.layer3', teacher='backbone.layer3', connector=regressor
            ),
            loss_kl=dict(
                type='KLDivergence', tau=6, loss_weight=10, reduction='mean', student='head.fc', teacher='head.fc'
            ),
        ),
    ),
)
