# One of ten ResNet-18 on CIFAR-10; a sweep trains it with ten seeds.
#
# Needs:  data/cifar10/cifar-10-batches-py (the official Python files).
#         Elsewhere: --cfg-options train_dataloader.dataset.data_root=… and so on.
# Launch: python tools/sweep.py configs/ensemble/teacher_resnet18_8xb16_cifar10.py --seeds 10
#         --work-dir work_dirs/ensemble_teachers_cifar10
#         Its schedule is for 128 images a step: with one GPU, --cfg-options train_dataloader.batch_size=128
# Result: not measured. mmpretrain reports 94.82 top-1.
_base_ = ['mmpretrain::resnet/resnet18_8xb16_cifar10.py']
