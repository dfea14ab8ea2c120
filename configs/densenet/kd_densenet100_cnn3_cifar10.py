# Purpose: logits of a DenseNet-BC into three convolutions (KD, https://arxiv.org/abs/1503.02531):
# alpha tau^2 KL + (1 - alpha) CE, the KL summed over the classes and averaged over the images
# Needs: data/cifar10/cifar-10-batches-py, the Python version of https://www.cs.toronto.edu/~kriz/cifar.html;
# work_dirs/teacher_densenet100_cifar10/epoch_300.pth, of teacher_densenet100_cifar10.py
# Launch: python tools/train.py configs/densenet/kd_densenet100_cnn3_cifar10.py
# python tools/sweep.py configs/densenet/kd_densenet100_cnn3_cifar10.py --grid tau=4,20 \
#     --baseline configs/densenet/student_cnn3_cifar10.py
# Result: not measured
_base_ = ['./student_cnn3_cifar10.py']

teacher_ckpt = 'work_dirs/teacher_densenet100_cifar10/epoch_300.pth'
alpha = 0.9

model = dict(
    _delete_=True,
    type='kd_plugins.SingleTeacherDistill',
    architecture=_base_.model,
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(type='kd_plugins.DenseNetBC', depth=100, growth_rate=12),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=342, topk=(1,)),
    ),
    teacher_ckpt=teacher_ckpt,
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_kl=dict(type='KLDivergence', tau=20, loss_weight=alpha, student='head.fc', teacher='head.fc'),
        ),
    ),
)
model['architecture']['head']['loss'] = dict(type='CrossEntropyLoss', loss_weight=1 - alpha)

val_cfg = dict(_delete_=True, type='kd_plugins.SingleTeacherDistillValLoop')
