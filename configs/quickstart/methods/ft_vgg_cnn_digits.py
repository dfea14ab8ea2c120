# Purpose: factors of the last stage: the paraphraser of ft_pretrain is frozen, a translator learns its factors
# (factor transfer, https://arxiv.org/abs/1802.04977), beta = 500
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# and work_dirs/quickstart/methods/ft_pretrain_vgg_cnn_digits/iter_300.pth, of ft_pretrain_vgg_cnn_digits.py
# Launch: python tools/train.py configs/quickstart/methods/ft_vgg_cnn_digits.py
# Result: 97.33 ± 0.22% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

paraphraser = 'work_dirs/quickstart/methods/ft_pretrain_vgg_cnn_digits/iter_300.pth'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint=paraphraser),
    distiller=dict(
        connectors=dict(
            paraphraser=dict(type='kd_plugins.Paraphraser', in_channel=256, out_channel=128, phase='train')
        ),
        distill_losses=dict(
            loss_ft=dict(
                type='FTLoss',
                loss_weight=500,
                student=dict(
                    source='backbone.stages.2',
                    connector=dict(type='kd_plugins.Translator', in_channel=128, out_channel=128),
                ),
                teacher=dict(source='backbone.stages.2', connector='paraphraser'),
            ),
        ),
    ),
)
