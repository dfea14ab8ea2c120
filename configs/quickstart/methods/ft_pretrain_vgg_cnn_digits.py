# Purpose: the paraphraser of ft, which learns to reconstruct the teacher's last stage; the student does not learn
# (first stage of factor transfer, https://arxiv.org/abs/1802.04977)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/ft_pretrain_vgg_cnn_digits.py
# Result: no accuracy, for the student does not learn; see ft_vgg_cnn_digits.py
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    student_trainable=False,
    calculate_student_loss=False,
    distiller=dict(
        connectors=dict(paraphraser=dict(type='kd_plugins.Paraphraser', in_channel=256, out_channel=128)),
        distill_losses=dict(
            loss_reconstruction=dict(
                type='L2Loss',
                normalize=False,
                div_element=True,
                teacher=dict(
                    s_feature='backbone.stages.2', t_feature=dict(source='backbone.stages.2', connector='paraphraser')
                ),
            ),
        ),
    ),
)
