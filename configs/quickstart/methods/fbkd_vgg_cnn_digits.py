# Purpose: attention, pooled features and non-local relations of the last stage (FBKD,
# https://openreview.net/forum?id=uKhGRvM8QNH)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/fbkd_vgg_cnn_digits.py
# Result: 98.18 ± 0.28% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_fbkd=dict(
                type='FBKDLoss',
                loss_weight=1,
                student=dict(
                    source='backbone.stages.2',
                    connector=[
                        dict(type='kd_plugins.ConvModuleConnector', in_channel=128, out_channel=256, act_cfg=None),
                        dict(type='kd_plugins.FBKDStudentConnector', in_channels=256),
                    ],
                ),
                teacher=dict(
                    source='backbone.stages.2', connector=dict(type='kd_plugins.FBKDTeacherConnector', in_channels=256)
                ),
            ),
        ),
    ),
)
