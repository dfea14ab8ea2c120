# Purpose: data and runtime of the quickstart: scikit-learn's handwritten digits at their own size, 8x8
# Needs: nothing (the images come with scikit-learn)
# Launch: a part for other configs, not run alone
default_scope = 'mmpretrain'
data_preprocessor = dict(
    type='ClsDataPreprocessor', num_classes=10, mean=[77.4, 77.4, 77.4], std=[82.2, 82.2, 82.2], to_rgb=False
)

affine = dict(
    type='torchvision/RandomAffine',
    degrees=10,
    translate=(0.1, 0.1),
    scale=(0.9, 1.1),
    shear=5,
    interpolation='bilinear',
)
train_pipeline = [dict(type='NumpyToPIL'), affine, dict(type='PILToNumpy'), dict(type='PackInputs')]
test_pipeline = [dict(type='PackInputs')]

# images this small load faster in the training process than in workers
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    dataset=dict(type='kd_plugins.Digits', split='train', pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    batch_size=180,
    num_workers=0,
    dataset=dict(type='kd_plugins.Digits', split='val', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = dict(
    batch_size=180,
    num_workers=0,
    dataset=dict(type='kd_plugins.Digits', split='test', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator

val_cfg = dict()
test_cfg = dict()

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=-1, save_last=True, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, deterministic=False)
