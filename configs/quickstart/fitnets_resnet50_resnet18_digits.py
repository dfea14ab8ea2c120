# Purpose: the quickstart's distillation, layer3, layer4 and logits of a ResNet-50 into a ResNet-18 (FitNets and KD)
# Needs: work_dirs/quickstart/teacher_resnet50_digits/epoch_20.pth, of teacher_resnet50_digits.py
# Launch: python tools/train.py configs/quickstart/fitnets_resnet50_resnet18_digits.py
# Result: 97.20 ± 0.32% top-1 on the 899 test digits over 5 seeds; 41 s of one core. Alone, the student has
# 96.62 ± 0.37 after as many epochs and 96.91 ± 0.84 after as much compute: no difference seen
_base_ = ['../_base_/digits_resnet18_schedule.py', '../_base_/fitnets_resnet50_resnet18.py']

digits_head = dict(num_classes=10, topk=(1,))

model = dict(
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py', pretrained=False, head=digits_head),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb32_in1k.py', pretrained=False, head=digits_head),
    teacher_ckpt='work_dirs/quickstart/teacher_resnet50_digits/epoch_20.pth',
)

val_cfg = dict(_delete_=True, type='kd_plugins.SingleTeacherDistillValLoop')
