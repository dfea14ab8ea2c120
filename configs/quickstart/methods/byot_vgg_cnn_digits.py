# Purpose: the student is its own teacher: classifiers at its first two stages learn from the last
# (BYOT, https://arxiv.org/abs/1905.08094), alpha = 0.3, lambda = 0.03
# The authors' soft labels have no factor tau squared: loss_soft is 9 times theirs
# Needs: nothing
# Launch: python tools/train.py configs/quickstart/methods/byot_vgg_cnn_digits.py
# Result: 96.92 ± 0.53% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../student_cnn_digits.py']

model = dict(
    _delete_=True,
    type='kd_plugins.SelfDistill',
    architecture=_base_.model,
    distiller=dict(
        type='kd_plugins.BYOTDistiller',
        connectors={
            f'exit_{stage}': dict(
                type='kd_plugins.BYOTConnector',
                in_channel=width,
                out_channel=128,
                expansion=1,
                stride=2,
                pool_size=2,
                num_classes=10,
            )
            for stage, width in ((0, 32), (1, 64))
        },
        distill_losses={
            f'loss_{kind}_{stage}': dict(
                **loss,
                student={
                    argument: dict(source=f'backbone.stages.{stage}', connector=f'exit_{stage}', connector_idx=index)
                },
                teacher=teacher,
            )
            for stage in (0, 1)
            for kind, loss, argument, index, teacher in (
                (
                    'feature',
                    dict(type='L2Loss', normalize=False, dist=True, loss_weight=0.03),
                    's_feature',
                    0,
                    dict(source='neck', data_idx=0),
                ),
                ('soft', dict(type='KLDivergence', tau=3, loss_weight=0.3), 'preds_S', 1, 'head.fc'),
                (
                    'label',
                    dict(type='mmpretrain.CrossEntropyLoss', loss_weight=0.7),
                    'cls_score',
                    1,
                    dict(label=dict(type='ModuleInputs', source='head.loss_module', data_idx=1)),
                ),
            )
        },
    ),
)
