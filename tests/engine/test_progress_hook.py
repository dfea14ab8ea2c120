"""The bars are drawn on a terminal, and nothing is drawn in a pipe."""

import io
import logging
from types import SimpleNamespace

import pytest
from rich.console import Console

from kd_plugins.engine import ProgressHook, progress_hook
from kd_plugins.engine.launch import run_training


@pytest.fixture
def runner():
    """What the hook reads of a runner that trains by iterations."""
    logger = logging.Logger('run')
    logger.addHandler(logging.StreamHandler())
    return SimpleNamespace(
        logger=logger,
        experiment_name='experiment',
        train_loop=object(),
        max_iters=4,
        iter=0,
        message_hub=SimpleNamespace(get_scalar=lambda name: SimpleNamespace(current=lambda: 1.25)),
    )


def drive(hook, runner):
    hook.before_train(runner)
    for runner.iter in range(4):
        hook.after_train_iter(runner, runner.iter)
        hook.after_val_epoch(runner, {'accuracy/top1': 97.5, 'teacher.accuracy/top1': 99.0})
    hook.after_train(runner)


def test_draws_on_a_terminal(monkeypatch, runner):
    screen = io.StringIO()
    monkeypatch.setattr(
        progress_hook, 'Console', lambda **_: Console(file=screen, force_terminal=True, width=120, height=20)
    )
    drive(ProgressHook(title='the student'), runner)
    for part in ('the student', '4/4', 'loss 1.250', 'val accuracy/top1 97.50'):
        assert part in screen.getvalue()


def test_the_terminal_comes_back_after_an_error(monkeypatch, runner):
    screen = io.StringIO()
    monkeypatch.setattr(
        progress_hook, 'Console', lambda **_: Console(file=screen, force_terminal=True, width=120, height=20)
    )
    hook = ProgressHook()

    def train():
        hook.before_train(runner)
        raise KeyboardInterrupt

    runner.train, runner.hooks = train, [hook]
    with pytest.raises(KeyboardInterrupt):
        run_training(runner)
    assert screen.getvalue().count('\x1b[?25l') == screen.getvalue().count('\x1b[?25h') == 1  # cursor off and on


def test_draws_nothing_in_a_pipe(monkeypatch, runner):
    screen = io.StringIO()
    monkeypatch.setattr(progress_hook, 'Console', lambda **_: Console(file=screen))
    drive(ProgressHook(), runner)
    assert screen.getvalue() == ''
