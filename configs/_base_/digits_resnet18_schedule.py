# Purpose: data and schedule of the quickstart's ResNet-18, alone and distilled: 100 of the training digits, 40 epochs
# Needs: nothing
# Launch: a part for other configs, not run alone
_base_ = ['./digits_32x32.py']

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
