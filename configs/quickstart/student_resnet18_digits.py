# Purpose: the quickstart's student without a teacher: a ResNet-18 on 100 of the training digits
# Needs: nothing
# Launch: python tools/train.py configs/quickstart/student_resnet18_digits.py
# Result: 96.62 ± 0.37% top-1 on the 899 test digits over 5 seeds; 19 s of one core
_base_ = ['../_base_/digits_resnet18_schedule.py', 'mmpretrain::_base_/models/resnet18.py']

model = dict(head=dict(num_classes=10, topk=(1,)))
