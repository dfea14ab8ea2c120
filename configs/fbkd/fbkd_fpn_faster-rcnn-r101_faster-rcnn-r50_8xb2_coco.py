# Purpose: FBKD of a detector's feature pyramid (https://openreview.net/forum?id=uKhGRvM8QNH)
# The weights are MMRazor's defaults, which it calls the authors' (not verified); each norm is over the batch of a
# process
# Needs: make install STACK=onedl DENSE=1; COCO in data/coco; weights are downloaded
# Launch: bash tools/dist_train.sh configs/fbkd/fbkd_fpn_faster-rcnn-r101_faster-rcnn-r50_8xb2_coco.py 8
# Result: not measured
_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    type='SingleTeacherDistill',
    architecture=dict(cfg_path='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', pretrained=False),
    teacher=dict(cfg_path='mmdet::faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py', pretrained=True),
    distiller=dict(
        type='ConfigurableDistiller',
        distill_losses={
            # P2 to P5; the larger a map, the coarser its non-local block looks
            f'loss_fbkd_p{level + 2}': dict(
                type='FBKDLoss',
                **{
                    side: dict(
                        source=f'neck.fpn_convs.{level}.conv',
                        connector=dict(type=f'FBKD{side.title()}Connector', reduction=4, maxpool_stride=stride),
                    )
                    for side in ('student', 'teacher')
                },
            )
            for level, stride in enumerate((8, 4, 2, 2))
        },
    ),
)
val_cfg = dict(_delete_=True, type='SingleTeacherDistillValLoop')
