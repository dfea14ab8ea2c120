# Purpose: logits on images that a generator imagines where student and teacher differ the most in L1
# (DFAD, https://arxiv.org/abs/1912.11006)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/dfad_vgg_cnn_digits.py
# Result: 94.88 ± 2.31% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/data_free_vgg_cnn_digits.py']

model = dict(
    student_iter=5,
    student_train_first=True,
    generator=dict(type='kd_plugins.DAFLGenerator', img_size=8, latent_dim=100, hidden_channels=64, bn_eps=1e-5),
    distiller=dict(
        distill_losses=dict(loss_l1=dict(type='L1Loss', loss_weight=1, student='head.fc', teacher='vgg.head.fc')),
    ),
    generator_distiller=dict(
        distill_losses=dict(loss_l1=dict(type='L1Loss', loss_weight=-1, student='head.fc', teacher='vgg.head.fc')),
    ),
)
