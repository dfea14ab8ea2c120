# Purpose: the teacher's last stage generated from a masked one (MGD, https://arxiv.org/abs/2205.01529)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/mgd_vgg_cnn_digits.py
# Result: 97.29 ± 0.53% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_mgd=dict(
                type='MGDLoss',
                alpha_mgd=7e-5,
                student='backbone.stages.2',
                teacher='backbone.stages.2',
                connector=dict(
                    type='kd_plugins.MGDConnector', student_channels=128, teacher_channels=256, lambda_mgd=0.15
                ),
            ),
        ),
    ),
)
