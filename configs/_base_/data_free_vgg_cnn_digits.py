# Purpose: teacher, student and schedule of data-free distillation on images of 8x8 pixels; each method adds its losses
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of teacher_vgg_digits.py
# Launch: a part for other configs, not run alone
_base_ = ['./vgg_cnn_digits.py']

model = dict(
    _delete_=True,
    type='kd_plugins.DataFreeDistillation',
    architecture=_base_.model.architecture,
    teachers=dict(vgg=dict(build_cfg=_base_.model.teacher, ckpt_path=_base_.model.teacher_ckpt)),
    distiller=dict(type='kd_plugins.ConfigurableDistiller'),
    generator_distiller=dict(type='kd_plugins.ConfigurableDistiller'),
)

# the images of the training set give nothing but their number: a batch of the generator's
train_dataloader = dict(batch_size=64)
max_iters = 400
train_cfg = dict(max_iters=max_iters, val_interval=200)
optim_wrapper = dict(
    _delete_=True,
    constructor='kd_plugins.SeparateOptimWrapperConstructor',
    architecture=dict(optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05)),
    generator=dict(optimizer=dict(type='AdamW', lr=1e-3)),
)
param_scheduler = dict(
    _delete_=True,
    architecture=[dict(type='CosineAnnealingLR', end=max_iters, by_epoch=False)],
    generator=[dict(type='CosineAnnealingLR', end=max_iters, by_epoch=False)],
)
val_cfg = dict(_delete_=True)
