"""tools/check_config.py: tables for people, JSON for programs, module names to choose from, and explicit configs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from shipped import CLASSIFIERS, CONFIGS

from kd_plugins.compat.bridge import COVERED
from kd_plugins.engine.config import load_config
from tools import check_config

REPOSITORY = Path(__file__).parents[2]
KD = CONFIGS / 'quickstart/kd_vgg_cnn_digits.py'
STUDENT = CONFIGS / 'quickstart/student_cnn_digits.py'
RESNETS = CONFIGS / 'kd/kd_logits_resnet34_resnet18_8xb16_cifar10.py'
LOSS_KL = 'model.distiller.distill_losses.loss_kl'
LEFT_OUT = f"""
_base_ = [{str(KD)!r}]
model = dict(
    teacher_ckpt=None,
    distiller=dict(
        student_recorders=dict(first=dict(type='ModuleOutputs', source='backbone.stages.0')),
        teacher_recorders=dict(first=dict(type='ModuleOutputs', source='backbone.stages.0')),
        connectors=dict(named='auto', unneeded='auto', partial=dict(type='ConvModuleConnector', act_cfg=None)),
        distill_losses=dict(
            loss_long=dict(type='L2Loss'),
            loss_nothing=dict(type='KLDivergence', student='head.fc', teacher='head.fc', connector='unneeded'),
            loss_partial=dict(
                type='L2Loss', student='backbone.stages.1', teacher='backbone.stages.1', connector='partial'
            ),
            loss_sizes=dict(type='L2Loss', student='backbone.stages.2', teacher='backbone.stages.1', connector='auto'),
        ),
        loss_forward_mappings=dict(
            loss_long=dict(
                s_feature=dict(recorder='first', from_student=True, connector='named'),
                t_feature=dict(recorder='first', from_student=False),
            ),
        ),
    ),
)
"""


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the tool in an empty folder, which must stay empty but for what is asked for; returns status and streams."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        before = set(tmp_path.rglob('*'))
        status = check_config.main([*map(str, arguments)])
        printed = capsys.readouterr()
        assert 'Traceback' not in printed.out + printed.err
        if '--dump' not in arguments:
            assert set(tmp_path.rglob('*')) == before
        return status, printed.out, printed.err

    return run


@pytest.mark.parametrize('path', CLASSIFIERS, ids=lambda path: path.relative_to(CONFIGS).with_suffix('').as_posix())
def test_every_shipped_config_is_good(path, run):
    status, out, err = run(path)
    assert status == 0, err
    assert f'\n{path}: good' in f'\n{out}'
    # a config that inherits from mmrazor's is the first to import it
    assert err.removeprefix(f'{COVERED}\n') == ''


def test_a_cache_that_is_not_written_yet(run, tmp_path):
    config = CONFIGS / 'cached/kd_cached_resnet50_vgg_digits.py'
    status, out, _ = run(config, '--dump', 'whole.py')
    assert status == 0
    assert 'model.teacher_cache' in out
    assert 'python tools/cache_teacher.py CONFIG' in ' '.join(out.split())
    assert load_config(tmp_path / 'whole.py').model.teacher_cache == load_config(config).model.teacher_cache


def test_tables(run):
    status, out, err = run(KD)
    assert (status, err) == (0, '')
    assert '\x1b' not in out
    for text in (
        'Distill losses, for images 2x3x8x8',
        'loss_kl',
        'KLDivergence',
        'student: head.fc',
        'teacher: head.fc',
        '2x10',
        'Models',
        '558,538',
        '94,762',
        '0 of 32',
        'not loaded',
        'Cost of a step',
        'find_unused_parameters is not needed',
        'warning: model.teacher_ckpt\n',
    ):
        assert text in out
    assert max(map(len, out.splitlines())) <= 240  # a line is not cut, and a table does not run away


def test_tables_show_connectors(run):
    status, out, _ = run(CONFIGS / 'quickstart/fitnets_resnet50_resnet18_digits.py')
    assert status == 0
    row = next(line for line in out.splitlines() if 'student: backbone.layer4' in line)
    for cell in ('2x512x1x1', 'ConvModule 512 to 2048', '2x2048x1x1'):
        assert cell in row
    assert 'model.distiller.distill_losses.loss_s4.connector = ' in out


def test_a_warning_is_no_fault(run):
    status, out, err = run(KD, '--cfg-options', f'{LOSS_KL}.reduction=mean')
    assert (status, err) == (0, '')
    assert f'warning: {LOSS_KL}.reduction\n' in out
    assert '1 that acts as 0.1' in out


def test_strictly_a_warning_is_a_fault(run, tmp_path):
    """The same config is good otherwise; and there is nothing to warn of in the student alone."""
    status, _, err = run(KD, '--strict')
    assert status == 2
    assert err.startswith('error: model.teacher_ckpt\n')
    status, out, _ = run(KD, '--strict', '--json')
    assert status == 2
    found = json.loads(out)
    assert [fault['where'] for fault in found['faults']] == ['model.teacher_ckpt']
    assert found['warnings'] == []
    assert run(KD, '--strict', '--dump', tmp_path / 'dump.py')[0] == 2
    assert not (tmp_path / 'dump.py').exists()
    assert run(STUDENT, '--strict')[0] == 0


def test_strict_and_a_list_of_modules(run):
    status, _, err = run(KD, '--strict', '--list-modules', 'student')
    assert status == 2
    assert err.startswith('error: --strict\n')
    assert err.count('error: ') == 1


def test_json(run):
    status, out, err = run(KD, '--json')
    assert (status, err) == (0, '')
    report = json.loads(out)
    assert report['good'] is True
    assert report['faults'] == []
    (loss,) = report['losses']
    assert (loss['name'], loss['kind'], loss['weight'], loss['effective_weight']) == ('loss_kl', 'KLDivergence', 1, 1)
    sources = {source['side']: source for source in loss['sources']}
    for side, argument in (('student', 'preds_S'), ('teacher', 'preds_T')):
        source = sources[side]
        assert (source['argument'], source['source'], source['calls']) == (argument, 'head.fc', 1)
        assert source['shape'] == source['connected'] == [2, 10]
    models = {model['role']: model for model in report['models']}
    assert models['teacher']['parameters'] == 558538
    assert models['teacher']['trainable'] == 0
    assert models['student']['trainable'] == models['student']['parameters'] == 94762
    assert (models['teacher']['loaded'], models['teacher']['tensors']) == (0, 32)
    assert report['cost']['teacher'] > report['cost']['student'] > report['cost']['losses'] >= 0
    assert report['without_gradient'] == []
    assert report['batch'] == [2, 3, 8, 8]
    assert [warning['where'] for warning in report['warnings']] == ['model.teacher_ckpt']


def test_teacher_weights_that_are_there_are_counted(run, tmp_path):
    import torch
    from mmengine.registry import MODELS, DefaultScope

    with DefaultScope.overwrite_default_scope('mmpretrain'), MODELS.switch_scope_and_registry('mmpretrain') as models:
        teacher = models.build(Config.fromfile(KD).model.teacher)
    torch.save({'state_dict': teacher.state_dict()}, tmp_path / 'teacher.pth')
    status, out, _ = run(KD, '--json', '--cfg-options', 'model.teacher_ckpt=teacher.pth')
    assert status == 0
    report = json.loads(out)
    model = report['models'][0]
    assert (model['role'], model['loaded'], model['tensors'], model['weights']) == ('teacher', 32, 32, 'teacher.pth')
    assert report['warnings'] == []


BROKEN = [f'{LOSS_KL}.taau=4', f'{LOSS_KL}.student=head.fcc', 'model.teacher_trainabel=True']
BROKEN_AT = {f'{LOSS_KL}.taau', f'{LOSS_KL}.student', 'model.teacher_trainabel'}


def test_a_bad_config(run):
    status, out, err = run(KD, '--cfg-options', *BROKEN)
    assert status == 2
    assert ': good' not in out
    for where in BROKEN_AT:
        assert err.count(f'error: {where}\n') == 1
    assert err.count('error: ') == 3
    assert err.count('to do: ') == 3


def test_a_bad_config_as_json(run):
    status, out, err = run(KD, '--json', '--cfg-options', *BROKEN)
    assert status == 2
    report = json.loads(out)
    assert report['good'] is False
    assert {fault['where'] for fault in report['faults']} == BROKEN_AT
    for fault in report['faults']:
        assert all(fault[key] for key in ('expected', 'got', 'advice'))
        assert f'error: {fault["where"]}\n' in err


def test_what_can_be_traced_of_a_bad_config_is_shown(run):
    status, out, _ = run(KD, '--cfg-options', f'{LOSS_KL}.student=neck')
    assert status == 2
    assert 'student: neck' in out
    assert 'teacher: head.fc' in out


@pytest.mark.parametrize('arguments', [[KD.with_name('none.py')], ['--json'], [KD, '--list-modules', 'professor']])
def test_a_bad_command_line(run, arguments):
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ''
    assert err.startswith('error: ')


@pytest.mark.parametrize('role', ['student', 'teacher'])
def test_lists_modules(run, role):
    status, out, err = run(RESNETS, '--list-modules', role)
    assert (status, err) == (0, '')
    assert '\x1b' not in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert rows['backbone.layer1.0.relu'] == ['ReLU', '2', '2x64x32x32']
    assert rows['backbone.layer4'][1:] == ['1', '2x512x4x4']
    assert rows['head.fc'] == ['Linear', '1', '2x10']
    assert ('backbone.layer3.5.conv1' in rows) == (role == 'teacher')  # a ResNet-34 is deeper than a ResNet-18


def test_lists_modules_that_fit_a_pattern(run):
    status, out, _ = run(RESNETS, '--list-modules', 'student', '--match', 'backbone.layer?')
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == [f'backbone.layer{stage}' for stage in (1, 2, 3, 4)]


def test_lists_modules_as_json(run):
    status, out, _ = run(RESNETS, '--list-modules', 'teacher', '--match', '*layer4.1.relu', '--json')
    assert status == 0
    outputs = [[2, 512, 4, 4]] * 2
    assert json.loads(out) == [{'name': 'backbone.layer4.1.relu', 'kind': 'ReLU', 'calls': 2, 'outputs': outputs}]


def test_lists_what_never_runs(run):
    status, out, _ = run(KD, '--list-modules', 'student', '--match', '*stages')
    assert status == 0
    assert 'backbone.stages' in out
    assert 'never runs' in out


def test_lists_the_modules_of_a_config_without_distillation(run):
    status, out, _ = run(STUDENT, '--list-modules', 'model', '--match', 'head.fc')
    assert status == 0
    assert out.splitlines()[1].split() == ['head.fc', 'Linear', '1', '2x10']


def test_lists_modules_although_the_distiller_is_broken(run):
    """Names are what a source that is not in the model is corrected with."""
    status, out, _ = run(
        KD, '--list-modules', 'student', '--match', 'head.*', '--cfg-options', f'{LOSS_KL}.student=none'
    )
    assert status == 0
    assert 'head.fc' in out


def test_a_pattern_that_fits_nothing(run):
    status, out, err = run(KD, '--list-modules', 'student', '--match', 'backbone.layer*')
    assert status == 2
    assert out == ''
    assert 'error: --match\n' in err
    assert "'backbone.layer*', which fits none" in err
    assert '--list-modules student' in err


def test_list_modules_of_a_student_that_is_not_there(run):
    status, out, err = run(STUDENT, '--list-modules', 'student')
    assert (status, out) == (2, '')
    assert 'student' in err


def test_dumps_what_was_worked_out(run, tmp_path):
    config, explicit, again = tmp_path / 'left_out.py', tmp_path / 'explicit.py', tmp_path / 'again.py'
    config.write_text(LEFT_OUT)
    status, out, _ = run(config, '--dump', explicit)
    assert status == 0
    assert 'connectors that were worked out' in out

    text = explicit.read_text()
    ast.parse(text)
    assert 'auto' not in [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    distiller = Config.fromfile(explicit).model.distiller
    named = distiller.connectors.named
    assert (named.type, named.in_channel, named.out_channel) == ('kd_plugins.ConvModuleConnector', 32, 64)
    partial = distiller.connectors.partial
    assert (partial.in_channel, partial.out_channel, partial.act_cfg) == (64, 128, None)
    assert 'unneeded' not in distiller.connectors
    assert 'connector' not in distiller.distill_losses.loss_nothing
    sizes = distiller.distill_losses.loss_sizes.connector
    assert sizes.type == 'kd_plugins.ResizeConnector'
    assert tuple(sizes['size']) == (4, 4)

    status, out, _ = run(explicit, '--dump', again)
    assert status == 0
    assert 'connectors that were worked out' not in out
    assert again.read_text() == text
    status, out, _ = run(explicit, '--json')
    assert json.loads(out)['chosen'] == {}


def test_a_dump_changes_nothing_else(run, tmp_path):
    explicit = tmp_path / 'explicit.py'
    assert run(KD, '--dump', explicit)[0] == 0
    assert Config.fromfile(explicit).to_dict() == load_config(KD).to_dict()


def test_a_bad_config_is_not_dumped(run, tmp_path):
    status, _, _ = run(KD, '--dump', tmp_path / 'explicit.py', '--cfg-options', *BROKEN)
    assert status == 2
    assert not (tmp_path / 'explicit.py').exists()


def test_a_dump_into_a_folder_that_is_not_there(run, tmp_path):
    status, _, err = run(KD, '--dump', tmp_path / 'none' / 'explicit.py')
    assert status == 2
    assert err.startswith('error: --dump\n')


@pytest.mark.slow
def test_as_a_process(tmp_path):
    def run(*arguments):
        command = [sys.executable, REPOSITORY / 'tools/check_config.py', *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    good = run(KD, '--json')
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout)['good'] is True
    bad = run(KD, '--cfg-options', *BROKEN)
    assert bad.returncode == 2
    assert '\x1b' not in bad.stdout + bad.stderr
    assert 'Traceback' not in bad.stdout + bad.stderr
    assert list(tmp_path.iterdir()) == []


def test_list_modules_of_a_model_that_cannot_run(tmp_path, capsys):
    path = tmp_path / 'config.py'
    path.write_text(
        f'_base_ = {str(CONFIGS / "quickstart" / "student_cnn_digits.py")!r}\nmodel = dict(head=dict(in_channels=7))\n'
    )
    assert check_config.main([str(path), '--list-modules', 'model']) == 2
    message = capsys.readouterr().err
    assert 'error: model.head\n' in message
    assert 'Traceback' not in message


@pytest.mark.parametrize('name', ['explicit.txt', 'folder.py'])
def test_dump_to_what_cannot_be_a_config(name, tmp_path, capsys):
    (tmp_path / 'folder.py').mkdir()
    config = CONFIGS / 'quickstart' / 'student_cnn_digits.py'
    assert check_config.main([str(config), '--dump', str(tmp_path / name)]) == 2
    assert 'error: --dump' in capsys.readouterr().err


def test_match_without_a_list(capsys):
    config = CONFIGS / 'quickstart' / 'student_cnn_digits.py'
    assert check_config.main([str(config), '--match', '*']) == 2
    assert 'error: --match' in capsys.readouterr().err
