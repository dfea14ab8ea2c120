# Purpose: logits on images that a generator imagines, which excite the teacher and are of all classes
# (DAFL, https://arxiv.org/abs/1904.01186), 1000 iterations
# The generator's weights are the authors' for MNIST; their divergence is at temperature 1, here at 6 as in MMRazor
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/dafl_vgg_cnn_digits.py
# Result: 54.47 ± 5.85% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/data_free_vgg_cnn_digits.py']

model = dict(
    type='kd_plugins.DAFLDataFreeDistillation',
    generator=dict(type='kd_plugins.DAFLGenerator', img_size=8, latent_dim=100, hidden_channels=64),
    distiller=dict(
        distill_losses=dict(loss_kl=dict(type='KLDivergence', tau=6, student='head.fc', teacher='vgg.head.fc')),
    ),
    generator_distiller=dict(
        distill_losses=dict(
            loss_onehot=dict(type='OnehotLikeLoss', loss_weight=1, teacher='vgg.head.fc'),
            loss_entropy=dict(type='InformationEntropyLoss', loss_weight=5, teacher='vgg.head.fc'),
            loss_activation=dict(type='ActivationLoss', loss_weight=0.1, teacher='vgg.neck.gap'),
        ),
    ),
)

max_iters = 1000
train_cfg = dict(max_iters=max_iters)
cosine = [dict(type='CosineAnnealingLR', end=max_iters, by_epoch=False)]
param_scheduler = dict(architecture=cosine, generator=cosine)
