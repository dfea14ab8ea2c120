import os
import signal

import pytest

from kd_plugins.engine.stop_signals import StopRequested, requested_stop, stoppable


def test_a_signal_is_kept():
    before = signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert requested_stop() == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested_stop() == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_next_training_begins_without():
    with stoppable():
        os.kill(os.getpid(), signal.SIGINT)
    with stoppable():
        assert requested_stop() == 0


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_statuses_are_those_of_shells(number, status):
    assert StopRequested(number).status == status
