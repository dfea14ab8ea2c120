# Purpose: the quickstart's student without a teacher: a ResNet-18 on 100 of the training digits
# Needs: nothing
# Launch: python tools/train.py configs/quickstart/student_resnet18_digits.py
# Result: 96.28 ± 0.14% top-1 on the 899 test digits over 4 seeds; 41 s of one core
_base_ = ['../_base_/digits_32x32.py', 'mmpretrain::_base_/models/resnet18.py']

model = dict(head=dict(num_classes=10, topk=(1,)))

train_dataloader = dict(batch_size=25, dataset=dict(num_images=100))

max_epochs = 40
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=8)
warmup_epochs = 0.3 * max_epochs
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.05, fused=True))
# one cycle
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=warmup_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=warmup_epochs, end=max_epochs, convert_to_iter_based=True),
]
