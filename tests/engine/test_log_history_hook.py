"""LogHistoryHook bounds the log history, and only where nothing needs more of it."""

from types import SimpleNamespace

import pytest
from mmengine.logging import HistoryBuffer

from kd_plugins.engine import LogHistoryHook
from kd_plugins.errors import UserError


def run(hook, iterations, custom_cfg=()):
    """A runner that logs one scalar for some iterations."""
    history = HistoryBuffer()
    runner = SimpleNamespace(
        iter=0,
        log_processor=SimpleNamespace(window_size=1, custom_cfg=list(custom_cfg)),
        message_hub=SimpleNamespace(log_scalars={'train/loss': history}),
    )
    for runner.iter in range(iterations):
        history.update(float(runner.iter))
        hook.after_train_iter(runner, runner.iter)
    return history


def test_keeps_the_last_values():
    history = run(LogHistoryHook(keep=10), 25)
    assert history.data[0].tolist() == [float(value) for value in range(15, 25)]
    assert history.mean(10) == 19.5


@pytest.mark.parametrize('window', ['epoch', 'global'])
def test_leaves_long_windows_alone(window):
    history = run(LogHistoryHook(keep=10), 25, [dict(data_src='loss', window_size=window)])
    assert len(history.data[0]) == 25


def test_keeps_as_much_as_the_longest_window_needs():
    history = run(LogHistoryHook(keep=10), 45, [dict(data_src='loss', window_size=20)])
    assert len(history.data[0]) == 20


@pytest.mark.parametrize('keep', [0, -1, 1.5, '10'])
def test_bad_input(keep):
    with pytest.raises(UserError, match='keep: expected a whole number above 0'):
        LogHistoryHook(keep=keep)
