# Activation boundaries (AB), ResNet-50 into ResNet-18, on ImageNet: first stage, 20 epochs in which the student learns
# which neurons fire, and nothing else. https://arxiv.org/abs/1811.03233
# Weights that halve from stage to stage, beside a factor 3 / 1000, are those of the authors' code for CIFAR-10.
#
# Needs:  data/imagenet with the folders train/ and val/; the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/abloss/abloss_pretrain_backbone_resnet50_resnet18_8xb32_in1k.py 8
# Result: not measured.
_base_ = ['../_base_/resnet50_resnet18_in1k.py']

regressor = dict(type='kd_plugins.ConvModuleConnector', norm_cfg=dict(type='BN'), act_cfg=None)
model = dict(
    calculate_student_loss=False,
    distiller=dict(
        distill_losses=dict(
            loss_s4=dict(
                type='ABLoss',
                loss_weight=1.0,
                student='backbone.layer4.1.conv2',
                teacher='backbone.layer4.2.conv3',
                connector=regressor,
            ),
            loss_s3=dict(
                type='ABLoss',
                loss_weight=0.5,
                student='backbone.layer3.1.conv2',
                teacher='backbone.layer3.5.conv3',
                connector=regressor,
            ),
            loss_s2=dict(
                type='ABLoss',
                loss_weight=0.25,
                student='backbone.layer2.1.conv2',
                teacher='backbone.layer2.3.conv3',
                connector=regressor,
            ),
            loss_s1=dict(
                type='ABLoss',
                loss_weight=0.125,
                student='backbone.layer1.1.conv2',
                teacher='backbone.layer1.2.conv3',
                connector=regressor,
            ),
        ),
    ),
)

# neck and head of the student learn nothing yet
find_unused_parameters = True

train_cfg = dict(max_epochs=20)
