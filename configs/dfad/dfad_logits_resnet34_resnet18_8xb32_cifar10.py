# Data-free adversarial distillation (DFAD), ResNet-34 into ResNet-18, on CIFAR-10. https://arxiv.org/abs/1912.11006
# Losses, steps, batch of 256 and schedule are those of the authors' code, but for AdamW in place of the generator's
# Adam.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files); the teacher's weights are downloaded.
#         Elsewhere or offline: --cfg-options model.teachers.res34.ckpt_path=PATH train_dataloader.dataset.data_root=…
# Launch: bash tools/dist_train.sh configs/dfad/dfad_logits_resnet34_resnet18_8xb32_cifar10.py 8
# Result: not measured.
_base_ = ['../_base_/data_free_resnet34_resnet18_cifar10.py']

model = dict(
    student_iter=5,
    student_train_first=True,
    generator=dict(type='kd_plugins.DAFLGenerator', img_size=32, latent_dim=256, hidden_channels=128, bn_eps=1e-5),
    distiller=dict(
        distill_losses=dict(loss_kl=dict(type='L1Loss', loss_weight=1.0, student='head.fc', teacher='res34.head.fc'))
    ),
    generator_distiller=dict(
        distill_losses=dict(loss_l1=dict(type='L1Loss', loss_weight=-1.0, student='head.fc', teacher='res34.head.fc'))
    ),
)

train_dataloader = dict(batch_size=32)
val_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=32)
