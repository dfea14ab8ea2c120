# Purpose: hints of a middle block through a regressor (FitNets, https://arxiv.org/abs/1412.6550), beside the logits and
# the labels; in one stage, where the paper trains the student's lower half on the hints first
# Needs: work_dirs/teacher_densenet100_digits/epoch_16.pth, of teacher_densenet100_digits.py
# Launch: python tools/train.py configs/densenet/fitnets_densenet100_cnn3_digits.py
# python tools/sweep.py configs/densenet/fitnets_densenet100_cnn3_digits.py --grid tau=4,20 \
#     --baseline configs/densenet/student_cnn3_digits.py
# Result: 95.86 ± 0.74% top-1 on the 899 test digits over 5 seeds; 96.17 ± 0.69 for the student alone
_base_ = ['./kd_densenet100_cnn3_digits.py']

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_hint=dict(
                type='L2Loss',
                normalize=False,
                div_element=True,
                loss_weight=1,
                student='backbone.stages.1',
                # the second block after its norm and activation, with as many positions as the student's stage
                teacher='backbone.transitions.1.act',
                connector='auto',
            ),
        ),
    ),
)
