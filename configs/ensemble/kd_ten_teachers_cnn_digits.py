# Purpose: logits of ten teachers that differ in their seed, their probabilities averaged at temperature 4, into a
# three-layer CNN (KD, section 3, an ensemble of ten models, https://arxiv.org/abs/1503.02531)
# Needs: work_dirs/ensemble_teachers/main/seed_0/iter_600.pth to seed_9/iter_600.pth, of
# python tools/sweep.py configs/ensemble/teacher_small_cnn_digits.py --seeds 10 --work-dir work_dirs/ensemble_teachers
# Launch: python tools/train.py configs/ensemble/kd_ten_teachers_cnn_digits.py
# Result: 98.51 ± 0.17% top-1 on the 899 test digits over 5 seeds; 97.46 ± 0.49 for the student alone
_base_ = ['../_base_/vgg_cnn_digits.py']

teacher = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.PlainCNN', stages=((32, 32), (64,), (128,))),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128, topk=(1,)),
)
teachers = {
    f'seed{seed}': dict(build_cfg=teacher, ckpt_path=f'work_dirs/ensemble_teachers/main/seed_{seed}/iter_600.pth')
    for seed in range(10)
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
