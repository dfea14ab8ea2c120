# Purpose: logits, the true class apart from the others (DKD, https://arxiv.org/abs/2203.08679)
# Temperature 4, alpha 1 and beta 8 are the authors' for CIFAR-100; their warm-up of 20 epochs is left out
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of ../teacher_vgg_digits.py
# Launch: python tools/train.py configs/quickstart/methods/dkd_vgg_cnn_digits.py
# Result: 98.85 ± 0.28% top-1 on the 899 test digits over 3 seeds; 97.29 ± 0.36 for the student alone
_base_ = ['../../_base_/vgg_cnn_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_dkd=dict(
                type='DKDLoss',
                tau=4,
                alpha=1,
                beta=8,
                reduction='mean',
                student=dict(
                    preds_S='head.fc', gt_labels=dict(type='ModuleInputs', source='head.loss_module', data_idx=1)
                ),
                teacher='head.fc',
            ),
        ),
    ),
)
