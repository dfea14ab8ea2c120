"""tools/sweep.py and tools/report.py from the command line."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kd_plugins.build import build_model
from kd_plugins.engine.config import load_config
from kd_plugins.report.result import find_results
from kd_plugins.sweep import Sweep, prepare
from tools import report, sweep

REPOSITORY = Path(__file__).parents[2]
CONFIG = str(REPOSITORY / 'configs/quickstart/kd_vgg_cnn_digits.py')
ALONE = str(REPOSITORY / 'configs/quickstart/student_cnn_digits.py')


@pytest.fixture
def short(tmp_path, monkeypatch):
    """Options that make a training short, with a teacher of random weights."""
    monkeypatch.chdir(tmp_path)
    teacher, _ = build_model(load_config(REPOSITORY / 'configs/quickstart/teacher_vgg_digits.py').model, 'model')
    torch.save(dict(state_dict=teacher.state_dict()), 'teacher.pth')
    return ['--cfg-options', 'model.teacher_ckpt=teacher.pth', 'train_cfg.max_iters=40', 'train_cfg.val_interval=40']


@pytest.mark.slow
def test_goes_on_after_a_kill_and_reports(short, tmp_path):
    arguments = [CONFIG, '--grid', 'tau=2,4', '--work-dir', 'out', *short]
    command = [sys.executable, str(REPOSITORY / 'tools/sweep.py'), *arguments]
    environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
    with open('first.log', 'w') as log:
        first = subprocess.Popen(command, env=environment, stderr=log, stdout=log)
    done = Path('out/main/tau=2/seed_0/result.json')
    deadline = time.monotonic() + 300
    while not done.is_file() and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait(60)
    assert done.is_file(), Path('first.log').read_text()
    before = done.read_bytes()

    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)

    assert second.returncode == 0, second.stderr
    assert done.read_bytes() == before
    assert re.search(r'[12] of 4 runs were done before', second.stderr)
    assert 'main tau=4 seed=0: accuracy/top1' in second.stderr
    results = find_results(['out'])
    found = {(result.arm, result.options.get('tau')) for result in results}
    # on a machine that does other work, the baseline may have taken as long: there is no longer one then
    assert found - {('baseline_same_compute', None)} == {('main', 2), ('main', 4), ('baseline', None)}
    assert results[0].config['data'] == results[-1].config['data']
    extended = [result for result in results if result.arm == 'baseline_same_compute']
    assert all(result.training['iterations'] > 40 for result in extended)
    for name in ('report.md', 'report.csv', 'report.html', 'gain.png', 'accuracy_tau.png', 'losses.png'):
        assert Path('out', name).stat().st_size > 200
    assert 'too few to tell it from noise' in second.stdout

    assert report.main(['out', '--out', 'again']) == 0
    # but for the title
    pages = [Path(folder, 'report.md').read_text().splitlines()[1:] for folder in ('out', 'again')]
    assert pages[0] == pages[1]


@pytest.mark.slow
def test_a_failed_run_is_reported(short, tmp_path, capsys):
    # mmengine cannot write its copy of the config there
    obstacle = Path('out/main/seed_1')
    arguments = [CONFIG, '--work-dir', 'out', '--seeds', '2', '--baseline', ALONE, *short]

    def block(asked, here):
        arms = prepare(asked, here)
        (obstacle / 'config.py').mkdir(parents=True)
        return arms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('kd_plugins.cli.sweep.prepare', block)
        with pytest.raises(SystemExit) as ended:
            sweep.main(arguments)

    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert f'failed: main seed=1 (exit status 1), see {obstacle}/train.log' in printed.err
    assert '1 runs failed' in printed.err
    # the rest was run, and is reported
    assert len([line for line in printed.err.splitlines() if 'accuracy/top1' in line]) >= 3


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['--grid', 'taw=1,2'], "did you mean 'tau'"),
        (['--grid', 'tau=1,2', f'val_interval={",".join(map(str, range(1, 600)))}'], 'at most 1000 runs, or --yes'),
        (['--grid', 'tau'], 'error: --grid\n  expected: KEY=VALUE'),
        (['--grid', 'tau=[1,2'], 'error: --grid\n  expected: KEY=VALUE'),
        (['--seeds', '0'], 'error: --seeds\n  expected: a whole number above 0'),
        (['--jobs', '0'], '--jobs'),
        (['--grid', 'tau=0,4'], 'loss_kl.tau (main tau=0)'),
        (['--baseline', 'nowhere.py'], 'nowhere.py, which does not exist'),
    ],
)
def test_refuses(short, tmp_path, capsys, arguments, expected):
    assert sweep.main([CONFIG, '--work-dir', 'out', *arguments, *short]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert not Path('out').exists()


@pytest.mark.parametrize('own', [True, False])
def test_refuses_runs_without_a_metric(short, capsys, own):
    """Each would end without a result, and be run again at every start."""
    bare = load_config(CONFIG if own else ALONE)
    for part in ('val', 'test'):
        for key in ('dataloader', 'evaluator', 'cfg'):
            bare[f'{part}_{key}'] = None
    bare.dump('bare.py')
    configs = ['bare.py'] if own else [CONFIG, '--baseline', 'bare.py']
    assert sweep.main([*configs, '--work-dir', 'out', *short[:2], 'train_cfg.max_iters=4']) == 2
    error = capsys.readouterr().err
    assert 'error: val_evaluator\n' in error
    assert 'none, and no test_evaluator' in error
    assert not Path('out').exists()


def test_options_reach_a_baseline_where_it_has_them(short):
    other = load_config(ALONE)
    other.model.data_preprocessor = dict(mean=[0.0] * 3, std=[1.0] * 3)
    other.dump('alone.py')
    options = {
        'model.teacher_ckpt': 'teacher.pth',
        'model.architecture.backbone.stages': ((8,),),
        'model.architecture.head.in_channels': 8,
        'model.data_preprocessor.mean': [9.0, 9.0, 9.0],
        'model.data_preprocessor.std': [1.0, 1.0, 1.0],
        'optim_wrapper.optimizer.lr': 0.5,
        'custom_hooks': [dict(type='EMAHook')],
    }
    asked = Sweep(CONFIG, {}, 1, 'alone.py', Path('out'), options, many=False)
    _, baseline = prepare(asked)
    model = baseline.config.model
    assert (model.backbone.stages, model.head.in_channels) == (((8,),), 8)
    assert model.data_preprocessor.mean == [9.0, 9.0, 9.0]
    assert baseline.config.optim_wrapper.optimizer.lr == 0.5
    assert 'architecture' not in model


def test_refuses_the_folder_of_another(short, capsys):
    Path('out').mkdir()
    Path('out/notes.txt').touch()
    assert sweep.main([CONFIG, '--work-dir', 'out', *short]) == 2
    assert 'a folder that holds something else' in capsys.readouterr().err
    Path('out/notes.txt').unlink()
    Path('out/sweep.json').write_text(json.dumps(dict(config='a', baseline=None, keys=[])))
    assert sweep.main([CONFIG, '--work-dir', 'out', *short]) == 2
    assert 'that of another config' in capsys.readouterr().err


def test_report_of_nothing(tmp_path, capsys):
    assert report.main([str(tmp_path)]) == 2
    assert 'a folder with a result.json in it' in capsys.readouterr().err
