"""Values are written as ruff formats them, and read back as they were."""

import pytest

from kd_plugins.config_text import WIDTH, assign, comment, render

LOSS = dict(type='kd_plugins.L2Loss', loss_weight=10, student=dict(source='backbone.stages.3', data_idx=0))


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (
            dict(type='A', n=1, flag=True, nothing=None, rate=0.5),
            "dict(type='A', n=1, flag=True, nothing=None, rate=0.5)",
        ),
        ([1, 'b'], "[1, 'b']"),
        ((64, 64), '(64, 64)'),
        ((1,), '(1,)'),
        ({}, 'dict()'),
        ([], '[]'),
        ("it's", '"it\'s"'),
        # what is no name cannot be written as dict(…)
        ({'.cls_token': dict(decay_mult=0.0)}, "{'.cls_token': dict(decay_mult=0.0)}"),
        ({'lambda': 1}, "{'lambda': 1}"),
        ({0: 1}, '{0: 1}'),
        ((3,), '(3,)'),
    ],
)
def test_short_values_stay_on_a_line(value, text):
    assert render(value) == text


def test_long_values_are_broken():
    value = dict(losses=dict.fromkeys(['first', 'second'], LOSS), names=['x' * 70, 'y' * 70])
    text = assign('model', value)
    scope = {}
    exec(text, scope)
    assert scope['model'] == value
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.splitlines()[:2] == ['model = dict(', '    losses=dict(']
    assert text.splitlines()[2].startswith("        first=dict(type='kd_plugins.L2Loss', ")


def test_breaks_as_deep_as_asked():
    value = dict(outer=dict(inner=dict(leaf=1)))
    assert render(value, broken=2) == 'dict(\n    outer=dict(\n        inner=dict(leaf=1),\n    ),\n)'


def test_breaks_exactly_where_the_line_is_full():
    for length in range(90, 120):
        text = assign('value', dict(key='x' * length))
        fits = len(f"value = dict(key='{'x' * length}'),") <= WIDTH
        assert ('\n' in text) != fits


def test_comments_are_wrapped():
    lines = comment('short\n  ' + 'word ' * 60).splitlines()
    assert lines[0] == '# short'
    assert len(lines) > 2
    assert all(line.startswith('#   word') and len(line) <= WIDTH for line in lines[1:])
