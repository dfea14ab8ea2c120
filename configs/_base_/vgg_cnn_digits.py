# Purpose: teacher, student, data and schedule of the methods in quickstart/methods; each of them adds its losses
# Needs: work_dirs/quickstart/teacher_vgg_digits/iter_1200.pth, of teacher_vgg_digits.py
# Launch: a part for other configs, not run alone
_base_ = ['../quickstart/kd_vgg_cnn_digits.py']

model = dict(distiller=dict(distill_losses=dict(_delete_=True)))
