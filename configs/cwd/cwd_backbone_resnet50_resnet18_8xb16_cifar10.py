# Each channel's distribution over the positions of layer3 and layer4 (CWD, https://arxiv.org/abs/2011.13256),
# ResNet-50 into ResNet-18, on CIFAR-10. The paper distils segmentors; configs/quickstart/methods/cwd_vgg_cnn_digits.py
# is the version that trains in seconds.
# Temperature 4 is the authors', for class maps; weight 10 was chosen here.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/cwd/cwd_backbone_resnet50_resnet18_8xb16_cifar10.py 8
# Result: not measured. mmpretrain reports 94.82 top-1 for the student alone and 95.55 for the teacher.
_base_ = ['../_base_/resnet50_resnet18_cifar10.py']

model = dict(
    distiller=dict(
        distill_losses={
            name: dict(
                type='ChannelWiseDivergence',
                tau=4,
                loss_weight=10,
                student=stage,
                teacher=stage,
                # 256 and 512 channels of the student become the teacher's 1024 and 2048
                connector='auto',
            )
            for name, stage in (('loss_s3', 'backbone.layer3'), ('loss_s4', 'backbone.layer4'))
        },
    ),
)
