"""The file that a run leaves for reports."""

import json

import pytest
from made_results import made_result

from kd_plugins.errors import UserError
from kd_plugins.report.result import FILE, find_results, read_result, write_result


def test_is_read_as_it_was_written(tmp_path):
    result = made_result(97.5, options={'tau': 4}, seed=3)
    assert write_result(result, tmp_path) == tmp_path / FILE
    read = read_result(tmp_path)
    assert (read.score, read.teacher_score, read.options, read.seed) == (97.5, 99.0, {'tau': 4}, 3)
    assert read.cost == pytest.approx(4.0)
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_scores_of_other_tasks_and_of_several_teachers():
    result = made_result(metrics={'coco/bbox_mAP': 0.3, 'coco/bbox_mAP_50': 0.5}, teacher_metrics={})
    assert (result.metric, result.score, result.teacher_score) == ('coco/bbox_mAP', 0.3, None)
    several = made_result(teacher_metrics={'one.accuracy/top1': 97.0, 'two.accuracy/top1': 98.0})
    assert several.teacher_score == 98.0


def test_finds_all_below(tmp_path):
    for seed in (1, 0):
        folder = tmp_path / 'main' / f'seed_{seed}'
        folder.mkdir(parents=True)
        write_result(made_result(seed=seed), folder)
    assert [result.seed for result in find_results([tmp_path, tmp_path / 'main' / 'seed_1'])] == [0, 1]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('{"format": 1', 'the result of a finished run'),
        ('[1]', 'a result of format 1'),
        ('{"format": 2}', 'a result of format 1'),
        ('{"format": 1, "seed": 0}', 'a result of format 1'),
    ],
)
def test_refuses_what_is_none(tmp_path, text, expected):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=expected) as error:
        read_result(tmp_path)
    assert str(tmp_path / FILE) in str(error.value)


def test_refuses_one_without_a_metric(tmp_path):
    write_result(made_result(metrics={}), tmp_path)
    with pytest.raises(UserError, match='val_evaluator'):
        read_result(tmp_path)


@pytest.mark.parametrize(('name', 'got'), [('empty', 'which has none'), ('nowhere', 'which does not exist')])
def test_says_where_nothing_is(tmp_path, name, got):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=got):
        find_results([tmp_path / name])


def test_holds_plain_json(tmp_path):
    content = json.loads(write_result(made_result(), tmp_path).read_text())
    assert content['format'] == 1
    assert content['experiment'] == {'arm': 'main', 'options': {}, 'sweep': 's'}
