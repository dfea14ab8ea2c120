"""Delivery of what a function returns."""

from __future__ import annotations

from kd_plugins.deliveries.delivery import Delivery
from kd_plugins.recorders.lookup import Place, find_function
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module()
class FunctionOutputsDelivery(Delivery):
    """Carries what a function returns in the teacher's forward into the student's.

    In ``distill_deliveries`` it is ``dict(type='FunctionOutputs', func_path='…', max_keep_data=1)``, as MMRazor has it.

    Args:
        func_path: Path of the function as ``'package.module.function'``, in the module whose code calls it: a function
            of ``a`` that ``b`` calls after ``from a import function`` is ``'b.function'``. It has to be written in
            Python.
        max_keep_data: How often the teacher's forward may call the function, from 1 on.

    Example:
        >>> delivery = FunctionOutputsDelivery('secrets.token_hex')
        >>> import secrets
        >>> with delivery:
        ...     of_teacher = secrets.token_hex()
        >>> delivery.override_data = True
        >>> with delivery:
        ...     of_student = secrets.token_hex()
        >>> of_student == of_teacher
        True
    """

    def __init__(self, func_path: str, max_keep_data: int = 1) -> None:
        super().__init__(func_path, max_keep_data)

    def _find(self) -> Place:
        return find_function(self.path, 'func_path')
