"""Our dense configs with models that train in seconds."""

from __future__ import annotations

from pathlib import Path

CONFIGS = Path(__file__).parents[2] / 'configs'
CLASSES = ('red', 'green', 'blue')

DETECTOR = """
_base_ = [{detector!r}]
data = dict(data_root={root!r}, metainfo=dict(classes={classes!r}))
resize = dict(type='Resize', scale=(96, 96), keep_ratio=True)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True), resize]
keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
train_pipeline = [*load, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
test_pipeline = [*load, dict(type='PackDetInputs', meta_keys=keys)]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(loader, dataset=dict(data, pipeline=train_pipeline))
val_dataloader = dict(loader, dataset=dict(data, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={root!r} + '/annotations/instances_val2017.json')
test_evaluator = val_evaluator
student = dict(depth=18, init_cfg=None)
connected = dict(student=dict(connector='auto'))
model = dict(
    architecture=dict(
        backbone=student,
        neck=dict(in_channels=[64, 128, 256, 512], out_channels=32),
        bbox_head=dict(num_classes=3, in_channels=32, feat_channels=32, stacked_convs=1),
        test_cfg=dict(score_thr=0),
    ),
    teacher=dict(
        pretrained=False,
        backbone=dict(depth=34, init_cfg=None),
        neck=dict(in_channels=[64, 128, 256, 512], out_channels=64),
        bbox_head=dict(num_classes=3, in_channels=64, feat_channels=64, stacked_convs=1),
        test_cfg=dict(score_thr=0),
    ),
    distiller=dict(distill_losses={{f'loss_pkd_p{{level}}': connected for level in range(3, 8)}}),
)
param_scheduler = []
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3))
train_cfg = dict(_delete_=True, by_epoch=True, max_epochs=5, val_interval=5)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=25, by_epoch=False))
randomness = dict(seed=0)
"""

SEGMENTOR = """
_base_ = [{segmentor!r}]
data = dict(data_root={root!r})
crop = (64, 64)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
train_pipeline = [
    *load, dict(type='RandomCrop', crop_size=crop), dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(loader, dataset=dict(data, pipeline=train_pipeline))
val_dataloader = dict(loader, dataset=dict(data, pipeline=test_pipeline))
test_dataloader = val_dataloader
half = dict(
    pretrained=None,
    backbone=dict(depth=18),
    data_preprocessor=dict(size=crop),
    decode_head=dict(in_channels=512, channels=32, norm_cfg=dict(type='BN')),
    auxiliary_head=dict(in_channels=256, channels=16, norm_cfg=dict(type='BN')),
)
model = dict(
    architecture=dict(half, backbone=dict(depth=18, norm_cfg=dict(type='BN'))),
    teacher=dict(half, backbone=dict(depth=34, norm_cfg=dict(type='BN'))),
)
param_scheduler = []
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3))
train_cfg = dict(max_iters=50, val_interval=50)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=10))
randomness = dict(seed=0)
"""


def write_config(path: Path, text: str, root: Path, more: str = '') -> Path:
    """Write one of the configs.

    Args:
        path: Where to.
        text: DETECTOR or SEGMENTOR.
        root: Its data set.
        more: What is added at its end.
    """
    bases = dict(
        detector=str(CONFIGS / 'pkd/pkd_fpn_retinanet-r101_retinanet-r50_8xb2_coco.py'),
        segmentor=str(CONFIGS / 'cwd/cwd_logits_pspnet-r101_pspnet-r18_4xb2-80k_cityscapes.py'),
    )
    path.write_text(text.format(**bases, root=str(root), classes=CLASSES) + more)
    return path
