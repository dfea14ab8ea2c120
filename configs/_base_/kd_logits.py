# Logit KD between two mmpretrain classifiers with a linear head.
model = dict(
    type='kd_plugins.SingleTeacherDistill',
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_kl=dict(type='KLDivergence', tau=1, loss_weight=3, student='head.fc', teacher='head.fc'),
        ),
    ),
)
