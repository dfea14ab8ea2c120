"""What this package changes in other libraries: nothing as it is imported, everything as soon as it is used."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import mmengine.logging
import pytest
import torch
from mmengine.runner import CheckpointLoader

from kd_plugins import library_changes

REPOSITORY = Path(__file__).parents[1]
STATE = """
import json, sys
import mmengine.logging, torch
from mmengine.runner import CheckpointLoader
def state():
    return dict(
        globals=len(torch.serialization.get_safe_globals()),
        loaders=[f'{loader.__module__}.{loader.__name__}' for loader in CheckpointLoader._schemes.values()],
        finders=[type(finder).__name__ for finder in sys.meta_path],
        print_log=mmengine.logging.print_log.__code__.co_filename,
    )
before = state()
"""


def states(program):
    """What the four places hold before and after a program in a fresh process."""
    text = f'{STATE}\n{program}\nprint(json.dumps([before, state()]))'
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', text], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    return json.loads(run.stdout.splitlines()[-1])


def test_import_changes_nothing():
    before, after = states('import kd_plugins')
    assert after == before


@pytest.mark.parametrize(
    'program',
    [
        "from mmengine.registry import MODELS\nMODELS.get('kd_plugins.KLDivergence')",
        'from kd_plugins.algorithms import SingleTeacherDistill',
        'import tools.check_config',
    ],
    ids=['a name in a config', 'an algorithm', 'a tool'],
)
def test_use_makes_all_changes(program):
    before, after = states(program)
    assert after['globals'] > before['globals']
    assert set(after['loaders']) == {'kd_plugins.checkpoint.mmengine_loader.load_from_anywhere'}
    assert after['finders'].count('BridgeFinder') == 1
    assert after['print_log'] == library_changes.__file__


def test_twice_is_once():
    def state():
        return (
            list(map(str, torch.serialization.get_safe_globals())),
            dict(CheckpointLoader._schemes),
            list(sys.meta_path),
            mmengine.logging.print_log,
        )

    library_changes.apply_library_changes()
    once = state()
    library_changes.apply_library_changes()
    twice = state()
    assert sorted(once[0]) == sorted(twice[0])
    assert once[1:] == twice[1:]


def test_what_is_for_nobody_is_not_printed(capsys):
    library_changes.drop_debug_prints()
    once = mmengine.logging.print_log
    library_changes.drop_debug_prints()
    assert mmengine.logging.print_log is once
    once('Could not import OneDL', level=logging.DEBUG)
    once('This is for somebody')
    assert capsys.readouterr().out == 'This is for somebody\n'
