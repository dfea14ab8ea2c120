# Logits of ten ResNet-18 that differ in their seed, their probabilities averaged at temperature 4, into another
# ResNet-18 (Hinton et al., section 3, an ensemble of ten models, https://arxiv.org/abs/1503.02531), on CIFAR-10.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files), and
#         work_dirs/ensemble_teachers_cifar10/main/seed_0/epoch_200.pth to seed_9/epoch_200.pth, of
#         python tools/sweep.py configs/ensemble/teacher_resnet18_8xb16_cifar10.py --seeds 10
#         --work-dir work_dirs/ensemble_teachers_cifar10
# Launch: bash tools/dist_train.sh configs/ensemble/kd_ten_resnet18_resnet18_8xb16_cifar10.py 8
# Result: not measured. mmpretrain reports 94.82 top-1 for the student alone.
_base_ = ['./teacher_resnet18_8xb16_cifar10.py']

teachers = {
    f'seed{seed}': dict(
        build_cfg=_base_.model, ckpt_path=f'work_dirs/ensemble_teachers_cifar10/main/seed_{seed}/epoch_200.pth'
    )
    for seed in range(10)
}
model = dict(
    _delete_=True,
    type='kd_plugins.MultiTeacherDistill',
    architecture=_base_.model,
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
