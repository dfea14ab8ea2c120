"""Shapes that a loss can compare, and the messages for when they are others."""

from __future__ import annotations

import torch

from kd_plugins.errors import Fault, UserError


def check_same_shape(**tensors: torch.Tensor) -> None:
    """Refuse two tensors of different shapes.

    Args:
        tensors: The student's tensor, then the teacher's, under the names of the loss's arguments.

    Raises:
        UserError: With both names, both shapes and the way to make them meet.
    """
    (s_name, student), (t_name, teacher) = tensors.items()
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise UserError(
                Fault(name, 'a tensor', f'a {type(tensor).__name__}', 'choose an element of it with data_idx')
            )
    if student.shape == teacher.shape:
        return
    raise UserError(
        Fault(
            '',
            'tensors of the same shape',
            f'{s_name} {tuple(student.shape)} (student) and {t_name} {tuple(teacher.shape)} (teacher)',
            _advice(student, teacher),
        )
    )


def _advice(student: torch.Tensor, teacher: torch.Tensor) -> str:
    if student.dim() != teacher.dim():
        return f'their ranks differ ({student.dim()} and {teacher.dim()}): record the same kind of tensor on both sides'
    if student.shape[0] != teacher.shape[0]:
        return 'the batch sizes differ: both models must have seen the same batch'
    if student.dim() == 2:
        return 'the numbers of classes or channels differ: give both models the same one, or add a LinearConnector'
    if student.shape[1] != teacher.shape[1] and student.dim() in (4, 5):
        volumes = ", conv_cfg=dict(type='Conv3d')" if student.dim() == 5 else ''
        return (
            "the channels differ: add a connector to the student's side, dict(type='ConvModuleConnector', "
            f'in_channel={student.shape[1]}, out_channel={teacher.shape[1]}{volumes})'
        )
    return "heights, widths or tokens differ: record stages of the same stride, or add connector='auto' to the loss"
