"""What is printed and written of a measurement, here a made-up one."""

import json

import pytest
from rich.console import Console

from kd_plugins.benchmark.report import pages_of, print_result, remarks_of, write_result
from kd_plugins.benchmark.result import ArmResult, Result
from kd_plugins.benchmark.rounds import Round
from kd_plugins.benchmark.setting import Setting
from kd_plugins.benchmark.work import Floor


@pytest.fixture
def result():
    rounds = [
        Round(('ours', 'bare'), {'ours': 0.5, 'bare': 1.0}),
        Round(('bare', 'ours'), {'ours': 1.2, 'bare': 2.0}),
        Round(('ours', 'bare'), {'ours': 0.7, 'bare': 1.0}),
    ]
    split = [Round(('a', 'b', 'step'), {'a': 0.1, 'b': 0.3, 'step': 0.5})]
    arms = {
        'ours': ArmResult(
            2.5, 0.0, 3 * 2**20, 4_000_000_000, {'kernels': 12, 'arithmetic': 0.01, 'memory': 0.35, 'seconds': 0.35}
        ),
        'bare': ArmResult(2.6, 0.04, 2**20),
    }
    setting = Setting(batch=8, size=32, rounds=3)
    versions = {'torch': '2.11.0'}
    made_up = Result('configs/some.py', setting, {'cpu': 'abacus', 'gpu': None}, versions, 'bare', rounds, arms)
    made_up.left_out['modelopt'] = 'modelopt is not installed'
    made_up.split = split
    return made_up


def test_numbers_of_the_tables(result):
    arms, floors, parts = pages_of(result)
    # ratios 0.5, 0.6 and 0.7; seconds 0.5, 0.7 and 1.2: 8 images in 0.7 s
    assert arms.rows[0] == ('ours', '0.600', '0.500 to 0.700', '700.0', '11.4', '3.0', '4.0', '2.5000 (0e+00)')
    assert arms.rows[1][:3] == ('bare', '1.000', '1.000 to 1.000')
    assert floors.rows == [('ours', '12', '10.0', '350.0', '2.00')]
    assert [row[0] for row in parts.rows] == ['a', 'b', 'sum of the parts', 'step', 'step / sum of the parts']
    assert [row[1] for row in parts.rows] == ['100.0', '300.0', '400.0', '500.0', '1.250']
    assert [row[-1] for row in parts.rows] == ['20.0%', '60.0%', '80.0%', '100.0%', '']


def test_the_larger_floor_counts():
    assert Floor(1, arithmetic=0.2, memory=0.1).seconds == 0.2
    assert Floor(1, arithmetic=0.2, memory=0.3).seconds == 0.3


def test_remarks(result):
    remarks = remarks_of(result)
    assert 'left out: modelopt: modelopt is not installed' in remarks
    assert 'another first loss than ours, so other work: bare' in remarks
    assert remarks[-1] == 'cpu abacus, torch 2.11.0'
    result.arms['bare'].deviation = 5e-5
    assert not any('other work' in line for line in remarks_of(result))
    result.arms['bare'].deviation = float('nan')
    assert any('other work' in line for line in remarks_of(result))


def test_markdown_has_every_cell(result, capsys):
    print_result(result, Console(width=60))
    printed = capsys.readouterr().out
    assert '| ours | 0.600 | 0.500 to 0.700 | 700.0 | 11.4 | 3.0 | 4.0 | 2.5000 (0e+00) |' in printed
    # nor is a cell of the terminal's table cut, however narrow that is
    assert '…' not in printed


def test_files(result, tmp_path):
    files = write_result(result, tmp_path / 'new' / 'folder')
    assert [path.name for path in files] == ['benchmark.json', 'benchmark.png']
    found = json.loads(files[0].read_text())
    assert found['arms']['ours']['ratio']['median'] == pytest.approx(0.6)
    assert found['rounds'][1] == {'order': ['bare', 'ours'], 'seconds': {'ours': 1.2, 'bare': 2.0}}
    assert sorted(files[0].parent.iterdir()) == sorted(files)
