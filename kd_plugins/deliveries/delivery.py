"""What every delivery is: a function whose results in one model's forward are those of another's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from kd_plugins.errors import Fault, UserError, join_path
from kd_plugins.recorders.lookup import Place


class Delivery(ABC):
    """Carries what a function returns in the teacher's forward into the student's.

    Entered with ``override_data`` False, around the teacher's forward, the function runs and its results are queued.
    Entered with ``override_data`` True, around the student's, the function does not run: each call returns the oldest
    result in the queue, the object itself, with its graph if it has one. The queue is emptied when the student's
    forward ends, when a new one of the teacher begins, and by an exception, so that no result outlives its step.

    Recorders of the same function are entered inside the delivery: they record what is delivered then.

    A function that the student calls inside a gradient checkpoint is called again in the backward, where nothing is
    delivered: checkpoint around it.

    Args:
        path: Dotted path of the function; its form belongs to the subclass.
        max_keep_data: How often the teacher's forward may call the function, from 1 on.

    Attributes:
        override_data: Whether results are delivered, not queued.
        where: Key path of its config, for what it refuses during a forward.

    Raises:
        UserError: There is no such function, or ``max_keep_data`` is not from 1 on.
    """

    def __init__(self, path: str, max_keep_data: int = 1) -> None:
        if isinstance(max_keep_data, bool) or not isinstance(max_keep_data, int) or max_keep_data < 1:
            expected, advice = 'a whole number from 1 on', "how often the teacher's forward calls the function"
            raise UserError(Fault('max_keep_data', expected, repr(max_keep_data), f'set it to {advice}'))
        self.path = path
        self.max_keep_data = max_keep_data
        self.override_data = False
        self.where = ''
        self._queue: deque[Any] = deque()
        # neither modules nor functions are kept, so that a delivery can be copied and pickled
        self._restore: Callable[[], None] | None = None
        self._find()

    def clear(self) -> None:
        """Forget what was queued."""
        self._queue.clear()

    def __enter__(self) -> Delivery:
        place = self._find()

        def deliver(*args: Any, **kwargs: Any) -> Any:
            if self.override_data:
                return self._take()
            output = place.function(*args, **kwargs)
            self._put(output)
            return output

        if not self.override_data:
            self.clear()
        self._restore = place.replace(deliver)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        restore, self._restore = self._restore, None
        if restore is not None:
            restore()
        if self.override_data or exc_type is not None:
            self.clear()

    @abstractmethod
    def _find(self) -> Place:
        """Where the function that ``path`` names is looked up."""

    def _put(self, output: Any) -> None:
        if len(self._queue) == self.max_keep_data:
            got = f'{self.max_keep_data} of {self.path}, and another call of it in the same forward'
            advice = f"raise it to the number of calls in the teacher's forward, at least {self.max_keep_data + 1}"
            raise UserError(
                Fault(join_path(self.where, 'max_keep_data'), 'room for the results of all calls', got, advice)
            )
        self._queue.append(output)

    def _take(self) -> Any:
        if not self._queue:
            got = f'a call of {self.path} for which there is none'
            advice = "the student's forward has to call it as often as the teacher's, which runs first"
            raise UserError(Fault(self.where, "a result of the teacher for each of the student's calls", got, advice))
        return self._queue.popleft()
