"""The report in all its forms."""

import base64
import re

import cv2
import numpy as np
import pandas as pd
import pytest
from made_results import made_result, swept

from kd_plugins.report.report import make_report, write_report
from kd_plugins.report.tables import gains_table, models_table
from kd_plugins.report.terminal import print_report


@pytest.fixture
def report():
    return make_report(swept(), 'A <sweep>')


def test_models(report):
    table = models_table(report.arms)
    assert list(table['model']) == [
        'teacher PlainCNN',
        'PlainCNN alone, same epochs',
        'PlainCNN alone, same compute',
        'PlainCNN distilled, tau=2',
        'PlainCNN distilled, tau=4',
    ]
    # 90.0, 90.1, 90.2; 40 and 80 steps of 0.1 s, 40 of 0.2 s
    assert list(table['accuracy/top1'][:2]) == ['99.00', '90.10 ± 0.10']
    assert list(table['training, s'][1:4]) == ['4', '8', '8']
    assert list(table['parameters'][:2]) == ['0.009 M', '0.001 M']
    assert set(table['latency, ms']) == {'0.50'}


def test_gains(report):
    row = gains_table(report.comparisons).iloc[0]
    # differences 1.00, 1.01, 1.02
    assert (row['gain'], row['95 % interval'], row['better in']) == ('+1.01 ± 0.01', '+0.99 to +1.03', '3 of 3')


def test_files(report, tmp_path):
    files = {file.name: file for file in write_report(report, tmp_path)}
    assert set(files) == {
        'report.md', 'report.csv', 'report.html', 'gain.png', 'accuracy_tau.png', 'losses.png'
    }  # fmt: skip
    assert {file.name for file in tmp_path.iterdir()} == set(files)

    runs = pd.read_csv(files['report.csv'])
    assert len(runs) == 12
    assert runs[(runs['arm'] == 'main') & (runs['tau'] == 4)]['accuracy/top1'].mean() == pytest.approx(92.11)

    page = files['report.md'].read_text()
    assert report.sentences[0] in page
    assert '| distilled, tau=4 | alone, same compute | +0.51 ± 0.01 |' in page
    assert '![gain](gain.png)' in page

    html = files['report.html'].read_text()
    assert 'A &lt;sweep&gt;' in html
    assert re.findall(r'(?:src|href)="(?!data:)', html) == []
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert [base64.b64decode(picture) for picture in pictures] == [
        files[name].read_bytes() for name in ('gain.png', 'accuracy_tau.png', 'losses.png')
    ]
    for name in ('gain.png', 'accuracy_tau.png', 'losses.png'):
        assert len(np.unique(cv2.imread(str(files[name])))) > 20


def test_notes_say_what_is_not_matched():
    results = swept()
    changed = [
        made_result(
            result.score,
            arm=result.arm,
            options=result.options,
            seed=result.seed,
            fingerprint=result.config['fingerprint'],
            teacher=None if result.teacher is None else 99.0,
            config={**result.config, 'data': dict(batch_size=8)} if result.arm == 'baseline' else result.config,
        )
        for result in results
    ]
    notes = make_report(changed, '').notes
    assert 'Not matched: distilled, tau=2 and alone, same epochs also differ in data.dataset, data.batch_size.' in notes
    assert not any(note.startswith('Not matched') for note in make_report(results, '').notes)


def test_runs_without_a_baseline(tmp_path):
    report = make_report([made_result(90.0, seed=seed) for seed in range(2)], 'alone')
    assert report.sentences == []
    assert {file.name for file in write_report(report, tmp_path)} == {
        'report.md', 'report.csv', 'report.html', 'losses.png'
    }  # fmt: skip


def test_terminal(report, capsys):
    print_report(report, [])
    printed = capsys.readouterr().out
    assert 'PlainCNN distilled, tau=4' in printed
    assert report.sentences[-1] in printed


def test_a_score_that_is_no_number(tmp_path, capsys):
    results = swept()
    broken = next(result for result in results if result.options == {'tau': 2})
    broken.metrics['accuracy/top1'] = broken.teacher_metrics['accuracy/top1'] = float('nan')
    report = make_report(results, 'broken')

    files = write_report(report, tmp_path)
    print_report(report, files)

    assert 'Distillation, tau=2 at equal epochs: a score is no number.' in capsys.readouterr().out
    row = gains_table(report.comparisons).iloc[0]
    assert (row['gain'], row['95 % interval'], row['better in'], row['verdict']) == ('nan', '–', '2 of 3', 'no number')
    rows = models_table(report.arms).set_index('model')['accuracy/top1']
    assert rows['PlainCNN distilled, tau=2'] == 'nan'
    assert rows['PlainCNN distilled, tau=4'] == '92.11 ± 0.11'
    assert all(file.stat().st_size > 200 for file in files)


def test_shares_are_shown_in_percent_and_kept_as_they_are(tmp_path):
    results = [
        made_result(seed=seed, metrics={'coco/bbox_mAP': 0.374 + seed / 1000}, teacher_metrics={'coco/bbox_mAP': 0.41})
        for seed in range(2)
    ]
    report = make_report(results, 'shares')

    table = models_table(report.arms)
    assert list(table['coco/bbox_mAP × 100']) == ['41.00', '37.45 ± 0.07']
    assert report.notes[0].startswith('coco/bbox_mAP × 100 on the test data')
    write_report(report, tmp_path)
    assert list(pd.read_csv(tmp_path / 'report.csv')['coco/bbox_mAP']) == [0.374, 0.375]
