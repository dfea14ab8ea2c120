# Purpose: kd_ten_teachers_cnn_digits.py with the teacher of seed 0 alone, to see what nine more of them add
# Needs: work_dirs/ensemble_teachers/main/seed_0/iter_600.pth, of
# python tools/sweep.py configs/ensemble/teacher_small_cnn_digits.py --seeds 10 --work-dir work_dirs/ensemble_teachers
# Launch: python tools/train.py configs/ensemble/kd_one_teacher_cnn_digits.py
# Result: 98.31 ± 0.34% top-1 on the 899 test digits over 5 seeds; 97.46 ± 0.49 for the student alone
_base_ = ['./kd_ten_teachers_cnn_digits.py']

model = dict(teachers=dict(_delete_=True, seed0=_base_.teachers.seed0))
