"""The deliveries of a distiller, entered together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

from kd_plugins.build import Declared, build_component, find_component, with_suffix, wrong_base_fault
from kd_plugins.deliveries.delivery import Delivery
from kd_plugins.errors import Fault, Faults, UserError
from kd_plugins.registry import TASK_UTILS

OURS = ('FunctionOutputs', 'MethodOutputs')


class DeliverySet:
    """Builds deliveries from what a config declares and treats them as one.

    It is entered around the teacher's forward and then, with ``override_data`` True, around the student's, outside of
    the recorders.

    Args:
        declared: Deliveries by name; their types may leave out ``Delivery`` at the end, as in MMRazor, although
            there are recorders of the same names.

    Attributes:
        deliveries: Those that could be built, by name.
        faults: Of those that could not, empty unless built inside :func:`kd_plugins.errors.drafting`.

    Raises:
        UserError: A config is not that of a delivery.
    """

    def __init__(self, declared: Mapping[str, Declared]) -> None:
        self.deliveries: dict[str, Delivery] = {}
        self._override_data = False
        faults = Faults()
        for name, part in declared.items():
            config = with_suffix(TASK_UTILS, part.config, 'Delivery', suffixed_first=True)
            try:
                fault = wrong_base_fault(find_component(TASK_UTILS, config, ''), TASK_UTILS, 'delivery')
                if fault is not None:
                    raise UserError(fault)
                delivery = build_component(TASK_UTILS, config, '')
            except UserError as error:
                faults += map(part.blame, error.faults)
                continue
            if not isinstance(delivery, Delivery):
                got, advice = (
                    f'a {type(delivery).__name__}',
                    f'use one of {", ".join(OURS)}, or derive it from kd_plugins.deliveries.Delivery',
                )
                faults.append(part.blame(Fault('type', 'a delivery', got, advice)))
                continue
            delivery.where = part.where
            self.deliveries[name] = delivery
            faults += map(part.blame, getattr(delivery, 'faults', ()))
        self.faults = faults.settle()

    @property
    def override_data(self) -> bool:
        """Whether results are delivered, not queued; set for all deliveries at once."""
        return self._override_data

    @override_data.setter
    def override_data(self, override: bool) -> None:
        self._override_data = override
        for delivery in self.deliveries.values():
            delivery.override_data = override

    def clear(self) -> None:
        """Forget what was queued."""
        for delivery in self.deliveries.values():
            delivery.clear()

    def __enter__(self) -> DeliverySet:
        with ExitStack() as entered:
            for delivery in self.deliveries.values():
                entered.enter_context(delivery)
            entered.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # deliveries of one function put back what they found
        for delivery in reversed(self.deliveries.values()):
            delivery.__exit__(exc_type, exc_value, traceback)
