"""The command line that measures the parity with mmrazor; what it measures is tested in tests/parity."""

import sys

from tools import parity


def test_without_mmrazor_it_is_one_message(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith('kd_plugins.compat.')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'mmrazor', None)
    assert parity.main([]) == 2
    printed = capsys.readouterr().err
    assert printed.count('error:') == 1
    assert 'mmrazor' in printed
    assert 'Traceback' not in printed


def test_a_bad_target_is_refused_before_anything_is_measured(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'kd_plugins.compat.parity', None)
    assert parity.main(['--out', 'nowhere/table.md']) == 2
    assert 'error: --out\n  expected: a file in a folder that exists' in capsys.readouterr().err
