"""Delivery of what a method returns."""

from __future__ import annotations

from kd_plugins.deliveries.delivery import Delivery
from kd_plugins.recorders.lookup import Place, find_method
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module()
class MethodOutputsDelivery(Delivery):
    """Carries what a method returns, on whatever object of its class, in the teacher's forward into the student's.

    In ``distill_deliveries`` it is ``dict(type='MethodOutputs', method_path='…', max_keep_data=1)``, as MMRazor has it.

    Args:
        method_path: Path of the method as ``'package.module.Class.method'``. The method may be inherited; only the
            calls on objects of ``Class`` count then. It has to take ``self``.
        max_keep_data: How often the teacher's forward may call the method, from 1 on.

    Example:
        >>> teacher, student = nn.Dropout(), nn.Dropout()
        >>> delivery = MethodOutputsDelivery('torch.nn.Dropout.forward')
        >>> with delivery:
        ...     of_teacher = teacher(torch.ones(100))
        >>> delivery.override_data = True
        >>> with delivery:
        ...     of_student = student(torch.ones(100))
        >>> torch.equal(of_student, of_teacher)
        True
    """

    def __init__(self, method_path: str, max_keep_data: int = 1) -> None:
        super().__init__(method_path, max_keep_data)

    def _find(self) -> Place:
        return find_method(self.path, 'method_path')
