"""The measurement of the methods: what is run, kept, counted and written, with training replaced by numbers."""

import json
from pathlib import Path

import pytest

from kd_plugins.report import Row
from tools import methods

ACCURACIES = {'student_cnn_digits': [97.0, 96.0], 'kd_vgg_cnn_digits': [98.0, 96.0]}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Replaces training; the list grows by stem and seed of each run."""
    runs = []

    def run(name, stem, seed):
        runs.append((stem, seed))
        accuracy = ACCURACIES.get(stem, [90.0, 90.0])[seed % 2]
        log = tmp_path / 'run' / 'time' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(json.dumps({'accuracy/top1': accuracy - 1, 'step': 1}) + '\n')
        return Row(name, 100, 1, 1000, accuracy, 5.0, tmp_path / 'run')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(methods, 'run', run)
    return runs


def test_every_config_is_a_method():
    folder = methods.CONFIGS / 'methods'
    listed = {stem for method in methods.METHODS.values() for stem in (method.stem, method.first)}
    assert {f'methods/{path.stem}' for path in folder.glob('*.py')} <= listed
    assert all((methods.CONFIGS / f'{stem}.py').is_file() for stem in listed | set(methods.TEACHERS) if stem)


def test_writes_the_gain_over_the_student_alone(trained, tmp_path, capsys):
    out = tmp_path / 'methods.md'
    out.write_text(f'before\n{methods.BEGIN}\nold\n{methods.END}\nafter\n')

    assert methods.main(['--methods', 'KD', '--seeds', '2', '--out', str(out)]) == 0

    before, *table, after = out.read_text().splitlines()
    assert (before, after) == ('before', 'after')
    assert 'old' not in table
    # (98 + 96) / 2 and (97 + 96) / 2; deviations sqrt(2) and sqrt(1 / 2); better with one of both seeds
    assert table[4].endswith('| 96.00 | 97.00 ± 1.41 | +0.50 | 1 of 2 | 5 |')
    assert '[1503.02531](https://arxiv.org/abs/1503.02531)' in table[4]
    assert '[kd_vgg_cnn_digits](../configs/quickstart/kd_vgg_cnn_digits.py)' in table[4]
    assert table[3].endswith('| 95.50 | 96.50 ± 0.71 |  |  | 5 |')
    assert '97.00 ± 1.41' in capsys.readouterr().out


def test_goes_on_where_it_was(trained):
    assert methods.main(['--methods', 'KD', '--seeds', '1']) == 0
    assert methods.main(['--methods', 'KD', '--seeds', '2']) == 0
    assert trained == [
        ('teacher_vgg_digits', 0),
        ('student_cnn_digits', 0),
        ('kd_vgg_cnn_digits', 0),
        # no checkpoint was left
        ('teacher_vgg_digits', 0),
        ('student_cnn_digits', 1),
        ('kd_vgg_cnn_digits', 1),
    ]


def test_a_changed_config_is_measured_again(trained, monkeypatch):
    store = methods.Store(methods.WORK_DIR / 'methods.json')
    method = methods.METHODS['KD']
    methods.measure(method, 'KD', 0, store)
    assert methods.Store(store.path).get(method, 0) == store.get(method, 0)
    monkeypatch.setattr(methods, 'digest', lambda method: 'another')
    assert methods.Store(store.path).get(method, 0) is None


def test_a_first_stage_is_trained_with_the_same_seed_and_counts(trained):
    method = methods.METHODS['FT']
    measured = methods.measure(method, 'FT', 3, methods.Store(Path('methods.json')))
    assert trained == [(method.first, 3), (method.stem, 3)]
    assert measured.seconds == 10


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['--methods', 'KDD'], "did you mean 'KD'"),
        (['--seeds', '0'], 'a whole number above 0'),
        (['--out', 'nowhere/table.md'], 'a file in a folder that exists'),
        (['--out', '.'], 'the name of a file'),
    ],
)
def test_refuses(trained, capsys, arguments, expected):
    assert methods.main(arguments) == 2
    assert expected in capsys.readouterr().err
    assert not trained
