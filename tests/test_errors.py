import pytest

from kd_plugins.errors import Fault, UserError, closest, join_path

FAULT = Fault('model.teacher', 'a dict', '3', 'write one')


def test_a_fault_reads_where_expected_got_advice():
    assert str(FAULT) == 'model.teacher: expected a dict, got 3; write one'


def test_an_error_lists_all_faults_one_a_line():
    error = UserError(FAULT, Fault('b', 'c', 'd', 'e'))
    assert str(error).splitlines() == [str(FAULT), 'b: expected c, got d; e']
    assert isinstance(error, ValueError)


def test_within_puts_the_outer_path_before_every_fault():
    error = UserError(FAULT, Fault('', 'c', 'd', 'e')).within('outer')
    assert [fault.where for fault in error.faults] == ['outer.model.teacher', 'outer']


def test_join_path_leaves_out_empty_parts():
    assert join_path('model', '', 'head') == 'model.head'
    assert join_path('', '') == ''


@pytest.mark.parametrize(
    ('name', 'candidates', 'expected'),
    [
        ('bakbone', ['backbone', 'head'], "did you mean 'backbone'?"),
        ('layer4', ['backbone.layer3', 'backbone.layer4', 'head.fc'], "'backbone.layer4'"),
        ('zzz', ['a', 'b'], 'choose one of a, b'),
        ('x', [], 'there are none to choose from'),
    ],
)
def test_closest(name, candidates, expected):
    assert expected in closest(name, candidates)


def test_closest_shortens_a_long_list():
    message = closest('zzz', [f'a{index:02}' for index in range(50)])
    assert message.endswith('a11, …')
