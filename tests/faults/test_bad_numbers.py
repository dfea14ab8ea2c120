"""Numbers that are not finite, in the teacher, the student, a connector and an image, end a run with one message."""

import os
import re
from pathlib import Path

import pytest
import torch
from processes import run
from tool_process import run_tool

from kd_plugins.build import build_model
from kd_plugins.engine.config import load_config

REPOSITORY = Path(__file__).parents[2]
QUICKSTART = REPOSITORY / 'configs/quickstart'
KD = QUICKSTART / 'kd_vgg_cnn_digits.py'
FITNETS = QUICKSTART / 'methods/fitnets_vgg_cnn_digits.py'
LAUNCH_VARIABLES = ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'RANK', 'LOCAL_RANK', 'WORLD_SIZE')

SPOILERS = """
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS


@HOOKS.register_module()
class SpoilWeight(Hook):
    '''Writes NaN into a weight before an iteration, counted from 1.'''

    def __init__(self, path, iteration):
        self.path = path
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            # the frozen teacher is no submodule
            part, _, path = self.path.partition('.')
            with torch.no_grad():
                getattr(runner.model, part).get_parameter(path).fill_(float('nan'))


@HOOKS.register_module()
class SpoilImage(Hook):
    '''Writes a number into an image of some iterations, in one process.'''

    def __init__(self, iterations, row=2, number='nan', rank=0):
        self.iterations = iterations
        self.row = row
        self.number = float(number)
        self.rank = rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 in self.iterations and get_rank() == self.rank:
            data_batch['inputs'] = data_batch['inputs'].float()
            data_batch['inputs'][self.row, 0, 0, 0] = self.number


@HOOKS.register_module()
class WriteWeights(Hook):
    '''Writes the student of each process after training.'''

    def after_train(self, runner):
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        torch.save(model.student.state_dict(), f'{runner.work_dir}/rank_{get_rank()}.pth')
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a random teacher and a module of hooks that spoil a run."""
    torch.manual_seed(0)
    teacher, _ = build_model(load_config(KD).model.teacher, 'teacher')
    torch.save({'state_dict': teacher.state_dict()}, tmp_path / 'teacher.pth')
    (tmp_path / 'spoilers.py').write_text(SPOILERS)
    return tmp_path


def write_config(folder, *hooks, base=KD):
    path = folder / 'spoiled.py'
    path.write_text(
        f'_base_ = [{str(base)!r}]\n'
        "model = dict(teacher_ckpt='teacher.pth')\n"
        "custom_imports = dict(imports=['spoilers'])\n"
        'env_cfg = dict(dist_cfg=dict(timeout=120))\n'
        f'custom_hooks = {list(hooks)!r}\n'
        'train_cfg = dict(max_iters=6, val_interval=6)\n'
        'default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=9))\n'
    )
    return path


def train(folder, config):
    return run_tool('train', config, '--work-dir', 'run', folder=folder, PYTHONPATH=str(folder))


def checkpoints(folder):
    return sorted(path.name for path in (folder / 'run').glob('iter_*.pth'))


def assert_stopped(folder, done, iteration, *found):
    assert done.status == 2, done.stderr
    assert done.stderr.startswith(f'error: iteration {iteration}\n  expected: finite losses\n')
    assert 'Traceback' not in done.stderr
    for text in found:
        assert text in done.stderr, done.stderr
    # nothing was saved after the last good step
    assert checkpoints(folder) == [f'iter_{number}.pth' for number in range(1, iteration)]


def test_teacher_whose_weights_overflow(folder):
    teacher = torch.load(folder / 'teacher.pth', weights_only=True)
    teacher['state_dict']['head.fc.weight'].fill_(3e38)
    torch.save(teacher, folder / 'teacher.pth')

    done = train(folder, write_config(folder))

    where = "first not finite: the record of 'head.fc' in the teacher (recorder loss_kl.preds_T, ModuleOutputs)"
    assert_stopped(folder, done, 1, 'got:      distill.loss_kl nan; ', where)
    assert re.search(r'samples: sample_idx \d+, (sample_idx \d+, ){7}…\n', done.stderr)
    assert 'look at the weights and the data_preprocessor of the teacher' in done.stderr


def test_teacher_that_turns_bad(folder):
    hook = dict(type='SpoilWeight', path='teacher.backbone.stages.0.0.conv.weight', iteration=3)

    done = train(folder, write_config(folder, hook))

    where = "first not finite: the record of 'head.fc' in the teacher (recorder loss_kl.preds_T, ModuleOutputs)"
    weight = 'weight teacher.backbone.stages.0.0.conv.weight is not finite'
    assert_stopped(folder, done, 3, 'got:      distill.loss_kl nan; ', where, weight)


def test_student(folder):
    hook = dict(type='SpoilWeight', path='architecture.head.fc.weight', iteration=3)

    done = train(folder, write_config(folder, hook))

    where = "first not finite: the record of 'head.fc' in the student (recorder loss_kl.preds_S, ModuleOutputs)"
    losses = 'got:      student.loss nan, distill.loss_kl nan; '
    assert_stopped(folder, done, 3, losses, where, 'weight architecture.head.fc.weight is not finite')


def test_connector(folder):
    path = 'distiller.connectors.loss_hint_s_feature.conv_module.conv.weight'
    hook = dict(type='SpoilWeight', path=path, iteration=2)

    done = train(folder, write_config(folder, hook, base=FITNETS))

    where = 'first not finite: the output of the connector distiller.connectors.loss_hint_s_feature; '
    assert_stopped(folder, done, 2, 'got:      distill.loss_hint nan; ', where)


@pytest.mark.parametrize('number', ['nan', 'inf', '-inf'])
def test_image(folder, number):
    done = train(folder, write_config(folder, dict(type='SpoilImage', iterations=[4], number=number)))

    where = 'first not finite: the inputs, after the data_preprocessor; 1 of the 32 samples: sample_idx '
    assert_stopped(folder, done, 4, 'student.loss nan', 'distill.loss_kl nan', where)


def test_skipped(folder):
    hooks = dict(type='SpoilImage', iterations=[2, 4]), dict(type='kd_plugins.FiniteLossHook', skip=2)

    done = train(folder, write_config(folder, *hooks, dict(type='WriteWeights')))

    assert done.status == 0, done.stderr
    log = done.stdout + done.stderr
    assert 'Skipped step 1 of at most 2: iteration 2, student.loss nan, distill.loss_kl nan; first not finite' in log
    assert 'Skipped step 2 of at most 2: iteration 4, ' in log
    states = [torch.load(folder / f'run/iter_{number}.pth', weights_only=True) for number in range(1, 7)]
    assert all(torch.isfinite(tensor).all() for state in states for tensor in state['state_dict'].values())
    first, second = (state['state_dict'] for state in states[:2])
    assert all(torch.equal(first[name], second[name]) for name in first)
    steps = [int(state['optimizer']['state'][0]['step']) for state in states]
    assert steps == [1, 1, 2, 2, 3, 4]
    assert states[-1]['message_hub']['runtime_info']['skipped_steps'] == 2


def test_more_than_may_be_skipped(folder):
    hooks = dict(type='SpoilImage', iterations=[2, 4]), dict(type='kd_plugins.FiniteLossHook', skip=1)

    done = train(folder, write_config(folder, *hooks))

    assert done.status == 2
    assert 'error: iteration 4\n  expected: finite losses after 1 skipped steps\n' in done.stderr
    assert checkpoints(folder) == ['iter_1.pth', 'iter_2.pth', 'iter_3.pth']


def train_two(folder, config):
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCH_VARIABLES}
    environment |= {'PYTHONPATH': str(folder), 'OMP_NUM_THREADS': '1'}
    command = ['bash', str(REPOSITORY / 'tools/dist_train.sh'), str(config), '2', '--work-dir', 'run']
    return run(command, cwd=folder, env=environment)


@pytest.mark.slow
def test_bad_in_the_second_of_two_processes(folder):
    done = train_two(folder, write_config(folder, dict(type='SpoilImage', iterations=[3], rank=1)))

    assert done.returncode == 2, done.stderr
    assert done.stderr.count('error: iteration 3\n') == 1
    assert 'got:      process 1: student.loss nan, distill.loss_kl nan; first not finite: the inputs' in done.stderr
    assert '1 of the 32 samples: sample_idx ' in done.stderr
    assert 'process 0' not in done.stderr
    assert checkpoints(folder) == ['iter_1.pth', 'iter_2.pth']


@pytest.mark.slow
def test_both_of_two_processes_skip_alike(folder):
    hooks = dict(type='SpoilImage', iterations=[3], rank=1), dict(type='kd_plugins.FiniteLossHook', skip=1)

    done = train_two(folder, write_config(folder, *hooks, dict(type='WriteWeights')))

    assert done.returncode == 0, done.stderr
    assert 'Skipped step 1 of at most 1: iteration 3, process 1: student.loss nan' in done.stdout + done.stderr
    first, second = (torch.load(folder / f'run/rank_{rank}.pth', weights_only=True) for rank in (0, 1))
    weights = [name for name in first if 'running' not in name]
    assert all(torch.equal(first[name], second[name]) for name in weights)
    assert all(torch.isfinite(tensor).all() for state in (first, second) for tensor in state.values())
