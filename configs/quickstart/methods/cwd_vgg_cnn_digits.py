# Purpose: each channel's distribution over the positions of stage 1 (CWD, https://arxiv.org/abs/2011.13256)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/cwd_vgg_cnn_digits.py
# Result: 97.29 ± 0.17% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_cwd=dict(
                type='ChannelWiseDivergence',
                tau=4,
                loss_weight=10,
                student='backbone.stages.1',
                teacher='backbone.stages.1',
                connector='auto',
            ),
        ),
    ),
)
