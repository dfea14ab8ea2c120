# Contrastive representation distillation, ResNet-50 into ResNet-18, on CIFAR-10. https://arxiv.org/abs/1910.10699
# The weight is that of MMRazor's file; MMRazor itself ignores it, and takes 1.
# 0.8 is that of the authors too, as are 16384 negatives; theirs is for CIFAR-100, batch 64, 240 epochs.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teacher_ckpt=PATH train_dataloader.dataset.data_root=… and so on.
# Launch: bash tools/dist_train.sh configs/crd/crd_neck_r50_r18_8xb16_cifar10.py 8
# Result: not measured.
_base_ = ['../_base_/resnet50_resnet18_cifar10.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_crd=dict(
                type='CRDLoss',
                loss_weight=0.8,
                student=dict(
                    s_feats=dict(source='neck.gap', connector=dict(type='kd_plugins.CRDConnector', dim_in=512)),
                    data_samples=dict(type='ModuleInputs', source='', data_idx=1),
                ),
                teacher=dict(source='neck.gap', connector=dict(type='kd_plugins.CRDConnector', dim_in=2048)),
            ),
        ),
    ),
)

# each image comes with its place in the data set, and with those of the images that it is contrasted with
pack = dict(type='kd_plugins.PackCRDClsInputs')
images = dict(**_base_.train_dataloader.dataset)
images['pipeline'] = [*images['pipeline'][:-1], pack]
train_dataloader = dict(
    dataset=dict(
        _delete_=True, type='kd_plugins.CRDDataset', dataset=images, neg_num=16384, sample_mode='exact', percent=1.0
    )
)
