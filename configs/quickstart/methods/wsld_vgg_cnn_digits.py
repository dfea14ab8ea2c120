# Purpose: logits, each sample weighed by what it may still teach (WSLD, https://arxiv.org/abs/2102.00650)
# Temperature 2 and weight 2.5 are the authors' for ImageNet
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/wsld_vgg_cnn_digits.py
# Result: 97.74 ± 0.51% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_wsld=dict(
                type='WSLD',
                tau=2,
                loss_weight=2.5,
                num_classes=10,
                student=dict(
                    student='head.fc', gt_labels=dict(type='ModuleInputs', source='head.loss_module', data_idx=1)
                ),
                teacher='head.fc',
            ),
        ),
    ),
)
