"""Tables and charts from what runs left behind."""

import io
import json
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from kd_plugins.report import Row, draw_chart, markdown_table, read_run_log, terminal_table


@pytest.fixture
def rows(tmp_path):
    """Two runs with the log files that mmengine writes."""
    made = []
    for name, accuracy in (('alone', 96.5), ('distilled', 98.25)):
        folder = tmp_path / name / '20260101_000000' / 'vis_data'
        folder.mkdir(parents=True)
        lines = [
            {'lr': 0.1, 'loss': 2.0, 'distill.loss_kl': 1.5, 'time': 0.1, 'iter': 10, 'step': 10},
            {'accuracy/top1': 90.0, 'teacher.accuracy/top1': 99.0, 'time': 0.1, 'step': 1},
            {'lr': 0.1, 'loss': 1.0, 'distill.loss_kl': 0.5, 'time': 0.1, 'iter': 20, 'step': 20},
            {'accuracy/top1': accuracy, 'teacher.accuracy/top1': 99.0, 'time': 0.1, 'step': 2},
        ]
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)) + '\n')
        made.append(Row(name, 300, 12, 11_181_642, accuracy, 21.4, tmp_path / name))
    return made


def test_run_log_separates_losses_from_metrics(rows):
    log = read_run_log(rows[1].work_dir)
    assert log.losses == {'loss': [(10, 2.0), (20, 1.0)], 'distill.loss_kl': [(10, 1.5), (20, 0.5)]}
    assert log.metrics == {'accuracy/top1': [(1, 90.0), (2, 98.25)], 'teacher.accuracy/top1': [(1, 99.0), (2, 99.0)]}


def test_run_log_of_a_folder_without_runs(tmp_path):
    assert read_run_log(tmp_path).losses == {}


def test_newest_run_is_read(rows):
    newer = Path(rows[0].work_dir) / '20270101_000000' / 'vis_data'
    newer.mkdir(parents=True)
    (newer / 'scalars.json').write_text(json.dumps({'loss': 7.0, 'iter': 1, 'step': 1}) + '\n')
    assert read_run_log(rows[0].work_dir).losses == {'loss': [(1, 7.0)]}


def test_markdown_table(rows):
    heading, rule, first, second = markdown_table(rows).splitlines()
    assert heading.count('|') == rule.count('|') == first.count('|') == 7
    assert second == '| distilled | 300 | 12 | 11.18 M | 98.25 | 21 |'


def test_terminal_table(rows):
    screen = io.StringIO()
    Console(file=screen, width=120).print(terminal_table('Digits', rows))
    for part in ('Digits', 'alone', 'distilled', '98.25', '11.18 M', '300'):
        assert part in screen.getvalue()


def test_chart_shows_something(rows, tmp_path):
    draw_chart(rows, tmp_path / 'chart.png', 'Digits')
    picture = cv2.imread(str(tmp_path / 'chart.png'))
    assert picture.shape[0] > 300
    assert picture.shape[1] > 800
    coloured = (picture.max(axis=2).astype(int) - picture.min(axis=2)) > 60
    assert coloured.sum() > 1000  # the curves; text and axes are grey
