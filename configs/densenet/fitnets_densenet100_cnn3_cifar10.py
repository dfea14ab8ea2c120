# Purpose: hints of a middle block through a regressor (FitNets, https://arxiv.org/abs/1412.6550), beside the logits and
# the labels; in one stage, where the paper trains the student's lower half on the hints first
# Needs: data/cifar10/cifar-10-batches-py, the Python version of https://www.cs.toronto.edu/~kriz/cifar.html;
# work_dirs/teacher_densenet100_cifar10/epoch_300.pth, of teacher_densenet100_cifar10.py
# Launch: python tools/train.py configs/densenet/fitnets_densenet100_cnn3_cifar10.py
# python tools/sweep.py configs/densenet/fitnets_densenet100_cnn3_cifar10.py --grid tau=4,20 \
#     --baseline configs/densenet/student_cnn3_cifar10.py
# Result: not measured
_base_ = ['./kd_densenet100_cnn3_cifar10.py']

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
