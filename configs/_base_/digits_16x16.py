# Purpose: the data and runtime of digits.py, with the digits enlarged to 16x16 for networks that pool twice
# Needs: nothing
# Launch: a part for other configs, not run alone
_base_ = ['./digits.py']

enlarge = dict(type='Resize', scale=(16, 16))
train_pipeline = [
    enlarge,
    dict(type='NumpyToPIL'),
    _base_.affine,
    dict(type='PILToNumpy'),
    dict(type='PackInputs'),
]
test_pipeline = [enlarge, dict(type='PackInputs')]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
