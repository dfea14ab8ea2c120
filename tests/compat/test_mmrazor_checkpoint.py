"""A run that MMRazor began goes on with us as if MMRazor had gone on with it."""

import copy

import pytest

pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from toy import algorithm_config, runner_config

import kd_plugins.compat.mmrazor  # noqa: F401
from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.checkpoint import weights_of
from kd_plugins.compat.checkpoint import convert_optimizer
from kd_plugins.errors import UserError

PARAMWISE = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4), paramwise_cfg=dict(norm_decay_mult=0.0)
)


def config(work_dir, package, epochs, optim_wrapper=None, **changes):
    """The toy pair without what is random, its two connectors declared in an order that is not that of their names."""
    model = algorithm_config(**changes)
    parts = model['distiller']
    parts['connectors'] = dict(
        widen=parts['connectors']['widen'],
        again=dict(type='ConvModuleConnector', in_channel=4, out_channel=6, act_cfg=None),
    )
    parts['distill_losses']['loss_again'] = dict(type='L2Loss')
    mapping = copy.deepcopy(parts['loss_forward_mappings']['loss_feature'])
    mapping['s_feature']['connector'] = 'again'
    parts['loss_forward_mappings']['loss_again'] = mapping
    loop = dict(type=f'{package}.SingleTeacherDistillValLoop') if package == 'kd_plugins' else dict(type='ValLoop')
    made = runner_config(work_dir, dict(type=f'{package}.SingleTeacherDistill', **model), epochs, val_cfg=loop)
    made['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1)
    if package == 'mmrazor':
        made['default_scope'] = 'mmrazor'
    else:
        made['custom_hooks'] = [dict(type='kd_plugins.MMRazorCheckpointHook')]
    if optim_wrapper:
        made['optim_wrapper'].update(optim_wrapper)
    return Config(made)


def without_dropout(runner):
    for model in (runner.model.architecture, runner.model.teacher):
        model.dropout.p = 0.0
        # mmrazor's teacher is not wholly in eval mode, and its BatchNorm is
        model.eval()
    return runner


def run(*args, **options):
    DefaultScope._instance_dict.clear()
    Visualizer._instance_dict.clear()
    made = config(*args, **{name: value for name, value in options.items() if name != 'resume'})
    made.resume, made.load_from = 'resume' in options, options.get('resume')
    runner = without_dropout(Runner.from_cfg(made))
    runner.train()
    # a fixture of the module would leave it to the tests that come after
    DefaultScope._instance_dict.clear()
    return runner


@pytest.fixture(scope='module', params=[None, PARAMWISE], ids=['one group', 'a group each'])
def checkpoint_and_end(request, tmp_path_factory):
    """MMRazor's checkpoint of the first of two epochs, and its weights after the second."""
    work_dir = tmp_path_factory.mktemp('mmrazor')
    run(work_dir, 'mmrazor', 2, request.param)
    return work_dir / 'epoch_1.pth', torch.load(work_dir / 'epoch_2.pth')['state_dict'], request.param


def test_goes_on_to_the_same_weights(checkpoint_and_end, tmp_path):
    path, end, optim_wrapper = checkpoint_and_end
    runner = run(tmp_path, 'kd_plugins', 2, optim_wrapper, resume=str(path))
    state = runner.model.state_dict()
    assert runner.epoch == 2
    assert set(end) - set(state) == {name for name in end if name.startswith('teacher.')}
    for name, value in state.items():
        torch.testing.assert_close(value, end[name], msg=name)
    # without momentum of its own, each weight would be elsewhere
    for name, value in runner.model.teacher.state_dict().items():
        assert torch.equal(value, end[f'teacher.{name}']), name


def test_the_teacher_comes_from_the_checkpoint(checkpoint_and_end):
    weights = torch.load(checkpoint_and_end[0])['state_dict']
    algorithm = SingleTeacherDistill(**model())
    algorithm.load_state_dict(weights)
    assert algorithm.frozen_teacher.trained
    assert torch.equal(algorithm.teacher.fc.weight, weights['teacher.fc.weight'])


def model(**changes):
    made = config('', 'kd_plugins', 1, **changes).model.to_dict()
    made.pop('type')
    return made


def test_a_teacher_with_weights_of_its_own_keeps_them(checkpoint_and_end, tmp_path):
    torch.manual_seed(5)
    own = SingleTeacherDistill(**model()).teacher.state_dict()
    torch.save({'state_dict': own}, tmp_path / 'teacher.pth')
    algorithm = SingleTeacherDistill(**model(teacher_ckpt=str(tmp_path / 'teacher.pth')))
    algorithm.load_state_dict(torch.load(checkpoint_and_end[0])['state_dict'])
    assert torch.equal(algorithm.teacher.fc.weight, own['fc.weight'])


def test_a_teacher_of_another_shape_is_said():
    weights = SingleTeacherDistill(**model()).state_dict()
    weights['teacher.fc.weight'] = torch.zeros(1, 1)
    with pytest.raises(RuntimeError, match=r'teacher: .*tensors of another shape'):
        SingleTeacherDistill(**model()).load_state_dict(weights)


def test_the_student_is_exported(checkpoint_and_end):
    saved = torch.load(checkpoint_and_end[0])
    student = SingleTeacherDistill(**model()).student
    student.load_state_dict(weights_of(saved))
    assert torch.equal(student.fc.weight, saved['state_dict']['architecture.fc.weight'])


def test_our_own_checkpoints_stay_as_they_are():
    algorithm = SingleTeacherDistill(**model())
    optimizer = torch.optim.SGD(algorithm.parameters(), 0.1)
    checkpoint = dict(state_dict=algorithm.state_dict(), optimizer=optimizer.state_dict())
    before = checkpoint['optimizer']
    convert_optimizer(checkpoint, algorithm, '--resume')
    assert checkpoint['optimizer'] is before


def test_an_optimizer_of_something_else():
    algorithm = SingleTeacherDistill(**model())
    optimizer = torch.optim.SGD(algorithm.student.parameters(), 0.1)
    weights = dict(reversed(algorithm.state_dict().items()))
    checkpoint = dict(state_dict=weights, optimizer=optimizer.state_dict())
    with pytest.raises(UserError, match=r'--resume: expected the optimizer .* 7 parameters, where the weights have 12'):
        convert_optimizer(checkpoint, algorithm, '--resume')
