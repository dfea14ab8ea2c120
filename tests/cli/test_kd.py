"""The command ``kd``: its list, its mistakes, and that it runs what the scripts in tools/ run."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kd_plugins.cli.kd import COMMANDS, main

REPOSITORY = Path(__file__).parents[2]
# script in tools/ and command
TWINS = {
    'cache_teacher': 'cache',
    'check_config': 'check',
    'export_student': 'export',
    'new_config': 'new',
    'report': 'report',
    'sweep': 'sweep',
    'test': 'test',
    'train': 'train',
    'translate_config': 'translate',
    'visualize_features': 'visualize',
}


def test_each_command_has_a_file_and_a_script():
    files = {path.stem for path in (REPOSITORY / 'kd_plugins' / 'cli').glob('*.py')} - {'__init__', 'kd'}
    assert files == set(COMMANDS) == set(TWINS.values())


@pytest.mark.parametrize(('script', 'command'), TWINS.items())
def test_a_script_and_its_command_are_one_function(script, command):
    ours = importlib.import_module(f'kd_plugins.cli.{command}')
    assert importlib.import_module(f'tools.{script}').main is ours.main
    # nothing of its own beside the call
    lines = (REPOSITORY / 'tools' / f'{script}.py').read_text().splitlines()
    assert lines[1:] == [
        '',
        'import sys',
        '',
        f'from kd_plugins.cli.{command} import main',
        '',
        "if __name__ == '__main__':",
        '    sys.exit(main())',
    ]
    assert f'``python tools/{script}.py' in lines[0]
    assert f'``kd {command}``' in lines[0]


@pytest.mark.parametrize('command', COMMANDS)
def test_help_has_the_name_that_was_typed(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, '--help'])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f'usage: kd {command} ')
    assert 'tools/check_config.py' not in printed


@pytest.mark.parametrize('argument', ['-h', '--help'])
def test_help_lists_the_commands(argument, capsys):
    assert main([argument]) == 0
    printed = capsys.readouterr()
    assert all(f'  {name} ' in printed.out and summary in printed.out for name, summary in COMMANDS.items())
    assert printed.err == ''


def test_without_a_command_they_are_listed_and_nothing_was_done(capsys):
    main(['--help'])
    listed = capsys.readouterr().out
    assert main([]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ('', listed)


@pytest.mark.parametrize(
    ('name', 'advice'),
    [
        ('trian', "did you mean 'train'"),
        ('check_config', "did you mean 'check'"),
        ('visualise', "did you mean 'visualize'"),
        ('TEST', 'choose one of cache, check'),
        ('--resume', 'choose one of cache, check'),
    ],
)
def test_an_unknown_command_names_the_closest(name, advice, capsys):
    assert main([name, 'config.py']) == 2
    printed = capsys.readouterr()
    assert printed.out == ''
    assert printed.err.startswith('error: kd\n  expected: one of new, check, train')
    assert repr(name) in printed.err
    assert f'to do:    {advice}' in printed.err


def test_arguments_that_a_command_misses(capsys):
    assert main(['export', 'config.py']) == 2
    printed = capsys.readouterr().err
    assert 'expected: kd export [-h]' in printed
    assert 'kd export --help explains them' in printed


def test_only_the_command_that_was_chosen_is_imported():
    script = (
        'import json, sys\n'
        'from kd_plugins.cli.kd import main\n'
        'status = main(["trian"])\n'
        'refused = [name for name in sys.modules if name.startswith("kd_plugins.")]\n'
        'main(["report"])\n'
        'print(json.dumps([status, refused, [name for name in sys.modules if name.startswith("kd_plugins.cli.")]]))\n'
    )
    run = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    status, refused, commands = json.loads(run.stdout)
    assert status == 2
    # what it takes to refuse a command line is little
    assert not any(name.startswith('kd_plugins.engine') for name in refused)
    assert sorted(commands) == ['kd_plugins.cli.kd', 'kd_plugins.cli.report']
