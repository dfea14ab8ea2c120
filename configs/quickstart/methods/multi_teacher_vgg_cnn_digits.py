# Purpose: logits of three teachers of different seeds, their probabilities averaged at temperature 4
# (KD, section 3, https://arxiv.org/abs/1503.02531)
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py,
# and those of ../teacher_vgg_digits_seed1.py and ../teacher_vgg_digits_seed2.py
# Launch: python tools/train.py configs/quickstart/methods/multi_teacher_vgg_cnn_digits.py
# Result: 98.48 ± 0.72% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

teachers = {
    name: dict(build_cfg=_base_.model.teacher, ckpt_path=f'work_dirs/quickstart/{folder}/iter_1200.pth')
    for name, folder in (
        ('seed0', 'teacher_vgg_digits'),
        ('seed1', 'teacher_vgg_digits_seed1'),
        ('seed2', 'teacher_vgg_digits_seed2'),
    )
}
model = dict(
    _delete_=True,
    type='kd_plugins.MultiTeacherDistill',
    architecture=_base_.model.architecture,
    teachers=teachers,
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_kl=dict(
                type='KLDivergence',
                tau=4,
                student='head.fc',
                teacher=dict(type='AveragedLogits', source='head.fc', tau=4),
            ),
        ),
    ),
)

val_cfg = dict(_delete_=True)
