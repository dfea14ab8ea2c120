# Zero-shot knowledge transfer, ResNet-34 into ResNet-18, on CIFAR-10. https://arxiv.org/abs/1905.09768
# 250, 10 steps and the batch of 128 are the authors'. The divergences are MMRazor's: 2 times those of the authors'
# code, which takes the same mean over elements; it has Adam at 0.002 with a cosine, 80,000 batches, and 100 latent
# numbers.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teachers.res34.ckpt_path=PATH train_dataloader.dataset.data_root=…
# Launch: bash tools/dist_train.sh configs/zskt/zskt_backbone_logits_resnet34_resnet18_8xb16_cifar10.py 8
# Result: not measured.
_base_ = ['../_base_/data_free_resnet34_resnet18_cifar10.py']

model = dict(
    student_iter=10,
    generator=dict(type='kd_plugins.ZSKTGenerator', img_size=32, latent_dim=256, hidden_channels=128),
    distiller=dict(
        distill_losses=dict(
            # the second call of a block's ReLU is its output
            **{
                f'loss_s{stage}': dict(
                    type='ATLoss',
                    loss_weight=250.0,
                    student=dict(source=f'backbone.layer{stage}.1.relu', record_idx=1),
                    teacher=dict(source=f'res34.backbone.layer{stage}.{block}.relu', record_idx=1),
                )
                for stage, block in ((1, 2), (2, 3), (3, 5), (4, 2))
            },
            loss_kl=dict(
                type='KLDivergence', loss_weight=2.0, reduction='mean', student='head.fc', teacher='res34.head.fc'
            ),
        ),
    ),
    generator_distiller=dict(
        distill_losses=dict(
            loss_kl=dict(
                type='KLDivergence',
                loss_weight=-2.0,
                reduction='mean',
                teacher_detach=False,
                student='head.fc',
                teacher='res34.head.fc',
            ),
        ),
    ),
)

optim_wrapper = dict(generator=dict(optimizer=dict(type='Adam')))
auto_scale_lr = dict(base_batch_size=16)
