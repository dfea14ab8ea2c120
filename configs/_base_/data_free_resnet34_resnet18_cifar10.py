# A ResNet-34 as teacher of a ResNet-18 without data; each method adds generator, losses and batch size.
# The images of CIFAR-10 give the size of a batch, and what is validated; training does not look at them.
_base_ = [
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    'mmpretrain::_base_/default_runtime.py',
]

model = dict(
    type='kd_plugins.DataFreeDistillation',
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb16_cifar10.py', pretrained=False),
    teachers=dict(
        res34=dict(
            build_cfg=dict(cfg_path='mmpretrain::resnet/resnet34_8xb16_cifar10.py', pretrained=True),
            ckpt_path='https://download.openmmlab.com/mmclassification/v0/resnet/resnet34_b16x8_cifar10_20210528-a8aa36a6.pth',
        )
    ),
    distiller=dict(type='kd_plugins.ConfigurableDistiller'),
    generator_distiller=dict(type='kd_plugins.ConfigurableDistiller'),
)

train_dataloader = dict(sampler=dict(type='InfiniteSampler', shuffle=True))
val_evaluator = dict(topk=(1, 5))
optim_wrapper = dict(
    _delete_=True,
    constructor='kd_plugins.SeparateOptimWrapperConstructor',
    architecture=dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.0005, momentum=0.9)),
    generator=dict(optimizer=dict(type='AdamW', lr=1e-3)),
)
steps = dict(type='MultiStepLR', milestones=[5000, 10000], by_epoch=False)
param_scheduler = dict(_delete_=True, architecture=steps, generator=steps)
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=25000, val_interval=250)
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=100, max_keep_ckpts=2)
)
log_processor = dict(by_epoch=False)
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=True)
# each process imagines images of its own
randomness = dict(seed=None, diff_rank_seed=True)
