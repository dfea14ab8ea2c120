# Purpose: the VGG-like teacher from another seed, for methods with several teachers
# Needs: nothing
# Launch: python tools/train.py configs/quickstart/teacher_vgg_digits_seed1.py
# Result: 99.56% top-1 on the 899 test digits
_base_ = ['./teacher_vgg_digits.py']

randomness = dict(seed=1)
