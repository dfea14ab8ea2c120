# DeiT: a distillation token learns the classes that a RegNetY-160 chooses, on ImageNet.
# https://arxiv.org/abs/2012.12877
# Half of the loss from the labels and half from the teacher's classes, as in the authors' code.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/deit/deit-base_regnety160_pt-16xb64_in1k.py 16
# Result: not measured.
_base_ = ['mmpretrain::deit/deit-base_16xb64_in1k.py']

weights = 'https://dl.fbaipublicfiles.com/deit/regnety_160-a5fe301d.pth'
half = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original', loss_weight=0.5)
student = _base_.model
student.backbone.type = 'DistilledVisionTransformer'
student.head = dict(type='kd_plugins.DeiTClsHead', num_classes=1000, in_channels=768, loss=half)
model = dict(
    _delete_=True,
    type='kd_plugins.SingleTeacherDistill',
    architecture=student,
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(
            type='kd_plugins.RegNetY',
            depths=(2, 4, 11, 1),
            widths=(224, 448, 1232, 3024),
            group_width=112,
            init_cfg=dict(type='Pretrained', checkpoint=weights),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=1000,
            in_channels=3024,
            init_cfg=dict(type='Pretrained', checkpoint=weights, prefix='head.'),
        ),
    ),
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        distill_losses=dict(
            loss_distill=dict(
                type='kd_plugins.CrossEntropyLoss',
                loss_weight=0.5,
                student='head.layers.head_dist',
                teacher='head.fc',
            ),
        ),
    ),
)
data_preprocessor = dict(batch_augments=student.train_cfg)

val_cfg = dict(type='kd_plugins.SingleTeacherDistillValLoop')
