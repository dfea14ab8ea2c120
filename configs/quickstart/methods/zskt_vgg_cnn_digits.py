# Purpose: logits and attention on images that a generator imagines where student and teacher diverge
# (zero-shot knowledge transfer, https://arxiv.org/abs/1905.09768), 5 steps of the student a step, beta = 250
# The authors' divergences have weight 1 and a mean over elements: those here, with 2 and 10 classes, are 20 times
# theirs
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/zskt_vgg_cnn_digits.py
# Result: 94.96 ± 1.59% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/data_free_vgg_cnn_digits.py']

model = dict(
    student_iter=5,
    generator=dict(type='kd_plugins.ZSKTGenerator', img_size=8, latent_dim=100, hidden_channels=64),
    distiller=dict(
        distill_losses=dict(
            loss_0=dict(type='ATLoss', loss_weight=250, student='backbone.stages.0', teacher='vgg.backbone.stages.0'),
            loss_1=dict(type='ATLoss', loss_weight=250, student='backbone.stages.1', teacher='vgg.backbone.stages.1'),
            loss_2=dict(type='ATLoss', loss_weight=250, student='backbone.stages.2', teacher='vgg.backbone.stages.2'),
            loss_kl=dict(type='KLDivergence', loss_weight=2, student='head.fc', teacher='vgg.head.fc'),
        ),
    ),
    generator_distiller=dict(
        distill_losses=dict(
            loss_kl=dict(
                type='KLDivergence',
                loss_weight=-2,
                teacher_detach=False,
                student='head.fc',
                teacher='vgg.head.fc',
            ),
        ),
    ),
)
