"""tools/benchmark.py end to end; what it measures is nobody's test."""

import json
from pathlib import Path

import pytest
import torch

from kd_plugins.benchmark import peers
from kd_plugins.stack import installed_package
from tools import benchmark

CONFIGS = Path(__file__).parents[2] / 'configs'
DIGITS = CONFIGS / 'quickstart/kd_vgg_cnn_digits.py'
METHODS = CONFIGS / 'quickstart/methods'
SMALL = ['--batch', '4', '--rounds', '2', '--device', 'cpu']
SPREAD = {'median', 'low', 'high', 'min', 'max'}


def run(config, out, *options):
    """Run the tool; returns what it wrote."""
    assert benchmark.main([str(config), *SMALL, '--out', str(out), *options]) == 0
    return json.loads((out / 'benchmark.json').read_text())


def refused(capsys, tmp_path, *options):
    assert benchmark.main([str(DIGITS), '--out', str(tmp_path / 'out'), *options]) == 2
    message = capsys.readouterr().err
    assert message.startswith('error: ')
    assert 'Traceback' not in message
    assert not (tmp_path / 'out').exists()
    return message


@pytest.fixture(autouse=True)
def not_installed(monkeypatch):
    """As on a machine without the peers that are not required."""
    find = peers.importlib.util.find_spec
    absent = ('torchdistill', 'modelopt')
    monkeypatch.setattr(peers.importlib.util, 'find_spec', lambda name: None if name in absent else find(name))


def test_arms_side_by_side(capsys, tmp_path):
    pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
    threads = torch.get_num_threads()
    try:
        names = 'bare,bare-best,student-only,cache,mmrazor,torchdistill,modelopt'
        found = run(DIGITS, tmp_path / 'out', '--against', names, '--threads', '1', '--seed', '5')
    finally:
        torch.set_num_threads(threads)
    measured = ['ours', 'bare', 'bare-best', 'student-only', 'cache', 'mmrazor']
    assert list(found['arms']) == measured
    assert set(found['left_out']) == {'torchdistill', 'modelopt'}
    assert found['base'] == 'bare'
    assert found['setting'] == dict(batch=4, size=8, device='cpu', amp='none', threads=1, rounds=2, seed=5)
    assert {'cpu', 'cores', 'threads', 'load'} <= set(found['machine'])
    packages = {installed_package(library)[0] for library in ('torch', 'mmengine', 'mmpretrain')}
    assert packages <= set(found['versions'])

    # every round ran every arm, in an order of its own
    assert len(found['rounds']) == len(found['split']) == 2
    for one in found['rounds']:
        assert sorted(one['order']) == sorted(measured) == sorted(one['seconds'])
        assert all(seconds > 0 for seconds in one['seconds'].values())
    for name, arm in found['arms'].items():
        assert set(arm['ratio']) == set(arm['seconds']) == SPREAD
        ratios = [one['seconds'][name] / one['seconds']['bare'] for one in found['rounds']]
        assert arm['ratio']['median'] == pytest.approx(sum(ratios) / 2)
        assert arm['images_per_second'] == pytest.approx(4 / arm['seconds']['median'])
        assert arm['peak_bytes'] > 0
    # the same work: what makes the seconds comparable
    for name in set(measured) - {'student-only'}:
        assert found['arms'][name]['deviation'] < 1e-4
    assert found['arms']['student-only']['deviation'] is None
    flops = {name: arm['flops'] for name, arm in found['arms'].items()}
    assert flops['ours'] == flops['bare'] == flops['bare-best'] == flops['mmrazor']
    assert flops['cache'] == flops['student-only'] < flops['ours'] / 2

    printed = capsys.readouterr().out
    for part in ('data', 'teacher', 'student', 'loss_kl', 'optimiser', 'step', 'step / sum of the parts'):
        assert f'| {part} |' in printed
    assert 'left out: torchdistill: torchdistill is not installed: pip install --no-deps torchdistill==' in printed
    assert 'left out: modelopt: modelopt is not installed' in printed
    assert (tmp_path / 'out/benchmark.png').read_bytes().startswith(b'\x89PNG')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['benchmark.json', 'benchmark.png']


def test_ratios_are_to_ours_where_no_loop_is_written(capsys, tmp_path):
    found = run(METHODS / 'dkd_vgg_cnn_digits.py', tmp_path / 'out', '--against', 'bare,bare-best,student-only')
    assert list(found['arms']) == ['ours', 'student-only']
    assert found['base'] == 'ours'
    assert 'DKDLoss' in found['left_out']['bare']
    assert 'left out: bare-best: loss_dkd: the loop is written for' in capsys.readouterr().out


@pytest.mark.parametrize('method', ['multi_teacher', 'byot', 'dafl', 'ofd'])
def test_any_config_of_ours(method, tmp_path):
    found = run(METHODS / f'{method}_vgg_cnn_digits.py', tmp_path / 'out', '--against', 'bare,cache', '--rounds', '1')
    assert 'ours' in found['arms']
    assert 'bare' in found['left_out']
    assert found['split'][0]['seconds']['step'] > 0


@pytest.mark.slow
def test_hints_have_every_part(tmp_path, capsys):
    config = CONFIGS / 'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb16_cifar10.py'
    found = run(config, tmp_path / 'out', '--size', '32', '--rounds', '1', '--against', 'bare')
    assert list(found['arms']) == ['ours', 'bare']
    assert found['arms']['bare']['deviation'] < 1e-4
    printed = capsys.readouterr().out
    for part in ('teacher', 'student', 'connectors', 'loss_kl', 'loss_s3', 'loss_s4', 'optimiser', 'step'):
        assert f'| {part} |' in printed


def test_mixed_precision(tmp_path):
    found = run(DIGITS, tmp_path / 'out', '--amp', 'bf16', '--against', 'bare,bare-best', '--rounds', '1')
    assert found['setting']['amp'] == 'bf16'
    # near, and not the same: bare stays in float32
    assert 0 < found['arms']['bare']['deviation'] < 0.05
    assert found['arms']['bare-best']['deviation'] < 0.05


def test_sweep_of_the_batch(capsys, tmp_path):
    found = run(DIGITS, tmp_path / 'out', '--sweep', 'batch', '--points', '4,2')
    points = found['sweeps']['batch']
    assert [point['batch'] for point in points] == [2, 4]
    for point in points:
        assert point['ratio']['min'] <= point['ratio']['median'] <= point['ratio']['max']
        assert point['bare']['images_per_second'] == pytest.approx(point['batch'] / point['bare']['median'])
    assert '| batch | ours, ms | bare, ms | ours / bare | spread |' in capsys.readouterr().out


def test_sweep_of_recorders_and_losses(capsys, tmp_path):
    found = run(DIGITS, tmp_path / 'out', '--sweep', 'losses', '--points', '0,1,3')
    assert [point['count'] for point in found['sweeps']['recorders']] == [0, 1, 3]
    assert [point['count'] for point in found['sweeps']['losses']] == [1, 3]
    assert all(points[0]['ratio']['median'] == 1 for points in found['sweeps'].values())
    assert not (tmp_path / 'out/benchmark.png').exists()
    assert '| extra recorders | ours, ms | over the fewest | spread |' in capsys.readouterr().out


def test_memory_over_steps(capsys, tmp_path):
    found = run(DIGITS, tmp_path / 'out', '--memory-steps', '--against', 'bare', '--rounds', '1')
    assert set(found['memory_steps']) == {'20', '200'}
    assert all(size > 50e6 for size in found['memory_steps'].values())
    assert 'memory of the process after 200 steps of ours' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (['--batch', '0'], '--batch'),
        (['--size', '0'], '--size'),
        (['--rounds', '0'], '--rounds'),
        (['--threads', '0'], '--threads'),
        (['--amp', 'int8'], '--amp'),
        (['--device', 'tpu'], '--device'),
        (['--batch', 'many'], 'invalid int value'),
        (['--sweep', 'batch', '--points', '0'], '--points'),
        (['--sweep', 'batch', '--points', 'a'], '--points'),
        (['--against', 'bare,mmrazr'], 'mmrazor'),
    ],
)
def test_bad_input(capsys, tmp_path, options, expected):
    assert expected in refused(capsys, tmp_path, *options)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_gpu(capsys, tmp_path):
    assert 'a machine without' in refused(capsys, tmp_path, '--device', 'cuda')


def test_config_that_is_not_there(capsys, tmp_path):
    assert 'which does not exist' in refused(capsys, tmp_path, '--config', str(DIGITS.with_name('no.py')))


def test_config_without_distillation(capsys, tmp_path):
    assert 'a distillation' in refused(capsys, tmp_path, '--config', str(DIGITS.with_name('student_cnn_digits.py')))


def test_out_that_is_a_file(capsys, tmp_path):
    (tmp_path / 'file').write_text('')
    assert benchmark.main([str(DIGITS), '--out', str(tmp_path / 'file')]) == 2
    assert '--out' in capsys.readouterr().err
