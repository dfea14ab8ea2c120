# Purpose: PKD of a detector's feature pyramid (https://arxiv.org/abs/2207.02039)
# Weight 10 and learning rate 0.01 are those of MMRazor's config between two RetinaNets
# Needs: make install STACK=onedl DENSE=1; COCO in data/coco; weights are downloaded
# Launch: bash tools/dist_train.sh configs/pkd/pkd_fpn_retinanet-r101_retinanet-r50_8xb2_coco.py 8
# Result: not measured
_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    type='SingleTeacherDistill',
    architecture=dict(cfg_path='mmdet::retinanet/retinanet_r50_fpn_2x_coco.py', pretrained=False),
    teacher=dict(cfg_path='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py', pretrained=True),
    distiller=dict(
        type='ConfigurableDistiller',
        distill_losses={
            # P3 to P7; of both models the pyramid has 256 channels
            f'loss_pkd_p{level + 3}': dict(
                type='PKDLoss',
                loss_weight=10,
                student=dict(source='neck', data_idx=level),
                teacher=dict(source='neck', data_idx=level),
            )
            for level in range(5)
        },
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
val_cfg = dict(_delete_=True, type='SingleTeacherDistillValLoop')
