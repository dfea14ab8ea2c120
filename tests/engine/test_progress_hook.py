"""The bars are drawn on a terminal, and nothing is drawn in a pipe."""

import io
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from rich.console import Console

from kd_plugins.engine import ProgressHook, progress_hook
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import prepare_training, run_training

QUICKSTART = Path(__file__).parents[2] / 'configs/quickstart'
LOSSES = {'loss': 1.25, 'distill.loss_kl': 1.0}


@pytest.fixture
def runner():
    """What the hook reads of a runner that trains by iterations."""
    logger = logging.Logger('run')
    logger.addHandler(logging.StreamHandler())
    return SimpleNamespace(
        logger=logger,
        experiment_name='experiment',
        work_dir='run',
        train_loop=object(),
        max_iters=4,
        iter=0,
        message_hub=MessageHub('run'),
    )


def drive(hook, runner, **losses):
    hook.before_train(runner)
    for runner.iter in range(4):
        runner.message_hub.update_scalars({f'train/{name}': value for name, value in (losses or LOSSES).items()})
        hook.after_train_iter(runner, runner.iter)
        hook.after_val_epoch(runner, {'confusion_matrix': torch.eye(3), 'f1': [1.0], 'accuracy/top1': 97.5, 'b': 1.0})
    hook.after_train(runner)


@pytest.fixture
def screen(monkeypatch):
    """What is drawn on a terminal."""
    screen = io.StringIO()
    monkeypatch.setattr(
        progress_hook, 'Console', lambda **_: Console(file=screen, force_terminal=True, width=120, height=20)
    )
    return screen


def test_draws_on_a_terminal(screen, runner):
    drive(ProgressHook(title='the student'), runner)
    for part in ('the student', '4/4', ' loss 1.250  val accuracy/top1 97.50'):
        assert part in screen.getvalue()
    assert 'loss_kl' not in screen.getvalue()


def test_a_loss_for_each_optimiser(screen, runner):
    drive(ProgressHook(), runner, **{'generator.loss': 0.5, 'generator.loss_bn': 0.5, 'distill.loss': 0.25})
    assert ' generator.loss 0.500  distill.loss 0.250  val ' in screen.getvalue()


@pytest.mark.parametrize('stem', ['methods/dafl_vgg_cnn_digits', 'methods/byot_vgg_cnn_digits'])
def test_trainings_without_a_teacher_and_without_data_are_drawn(screen, stem, tmp_path):
    options = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'train_dataloader.batch_size': 4}
    config = load_config(QUICKSTART / f'{stem}.py', options)
    config.work_dir, config.launcher = str(tmp_path / 'run'), 'none'
    for teacher in config.model.get('teachers', {}).values():
        teacher.ckpt_path = None
    run_training(prepare_training(config))
    assert '2/2' in screen.getvalue()
    assert 'loss ' in screen.getvalue()


def test_the_terminal_comes_back_after_an_error(screen, runner):
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
