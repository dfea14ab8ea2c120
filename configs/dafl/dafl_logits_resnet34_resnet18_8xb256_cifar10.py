# Data-free learning (DAFL), ResNet-34 into ResNet-18, on CIFAR-10. https://arxiv.org/abs/1904.01186
# The generator's weights are those of the authors' code. The rest is MMRazor's: the student's divergence is at
# temperature 6 (authors: 1), AdamW at 0.1 and 0.001 (SGD at 0.1 and Adam at 0.02), batch 2048 for 30,000 steps (1024
# for 240,000).
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teachers.res34.ckpt_path=PATH train_dataloader.dataset.data_root=…
# Launch: bash tools/dist_train.sh configs/dafl/dafl_logits_resnet34_resnet18_8xb256_cifar10.py 8
# Result: not measured.
_base_ = ['../_base_/data_free_resnet34_resnet18_cifar10.py']

model = dict(
    type='kd_plugins.DAFLDataFreeDistillation',
    generator=dict(type='kd_plugins.DAFLGenerator', img_size=32, latent_dim=1000, hidden_channels=128),
    distiller=dict(
        distill_losses=dict(
            loss_kl=dict(type='KLDivergence', tau=6, loss_weight=1, student='head.fc', teacher='res34.head.fc')
        )
    ),
    generator_distiller=dict(
        distill_losses=dict(
            loss_res34_oh=dict(type='OnehotLikeLoss', loss_weight=0.05, teacher='res34.head.fc'),
            loss_res34_ie=dict(type='InformationEntropyLoss', loss_weight=5, teacher='res34.head.fc'),
            loss_res34_ac=dict(type='ActivationLoss', loss_weight=0.01, teacher='res34.neck.gap'),
        ),
    ),
)

optim_wrapper = dict(architecture=dict(_delete_=True, optimizer=dict(type='AdamW', lr=1e-1)))
warmup = dict(type='LinearLR', end=500, by_epoch=False, start_factor=0.0001)
param_scheduler = dict(
    architecture=[warmup, dict(type='MultiStepLR', begin=500, milestones=[12000, 24000], by_epoch=False)],
    generator=dict(_delete_=True, **warmup),
)
train_cfg = dict(max_iters=30000, val_interval=150)
train_dataloader = dict(batch_size=256)
val_dataloader = dict(batch_size=256)
default_hooks = dict(logger=dict(interval=75), checkpoint=dict(interval=150))
model_wrapper_cfg = dict(find_unused_parameters=False)
auto_scale_lr = dict(base_batch_size=256)
