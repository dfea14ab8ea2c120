"""Check a config without training: ``kd check CONFIG``."""

import argparse
import copy
import sys
from pathlib import Path

from kd_plugins.arguments import require_writable
from kd_plugins.engine.cache_config import leave_out_missing_cache
from kd_plugins.engine.check import check
from kd_plugins.engine.command_line import ArgumentParser, KeyValueAction, command
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import complete_config
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import inspect_modules, render, select

EPILOG = """examples:
  {command} CONFIG
  {command} CONFIG --strict
  {command} CONFIG --list-modules teacher --match 'backbone.layer?'
  {command} CONFIG --dump explicit.py
"""


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line, check, and report."""
    parser = ArgumentParser(
        prog=prog,
        description='Build both models of a config, send a small batch through them and report all that is wrong',
        epilog=EPILOG.format(command=prog or 'python tools/check_config.py'),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='path of the config file')
    parser.add_argument(
        '--cfg-options', nargs='+', action=KeyValueAction, metavar='KEY=VALUE', help='values to change in the config'
    )
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    parser.add_argument(
        '--list-modules',
        choices=['student', 'teacher', 'model'],
        help='print the modules that can be recorded instead; model: of a config without distillation',
    )
    parser.add_argument('--match', metavar='GLOB', help='only modules with such a name; for --list-modules')
    parser.add_argument('--strict', action='store_true', help='take warnings for errors: exit status 2')
    parser.add_argument('--dump', metavar='FILE', help='write the config, with connectors worked out, to a .py file')
    arguments = parser.parse_args(argv)

    if arguments.dump:
        check_target(Path(arguments.dump))
    if arguments.match and not arguments.list_modules:
        advice = 'add --list-modules student or teacher'
        raise UserError(Fault('--match', '--list-modules, whose modules it chooses', 'none', advice))
    if arguments.strict and arguments.list_modules:
        raise UserError(
            Fault('--strict', 'a check of the config', '--list-modules, which checks nothing', 'leave it out')
        )
    config = load_config(arguments.config, arguments.cfg_options)
    written = copy.deepcopy(config)
    console = render.report_console(sys.stdout, sys.stdout.isatty())
    if arguments.list_modules:
        leave_out_missing_cache(config)
        complete_config(config)
        rows = select(inspect_modules(config, arguments.list_modules), arguments.match)
        if not rows:
            advice = f"look at them all: --list-modules {arguments.list_modules} --match '*'"
            raise UserError(Fault('--match', 'the names of modules', f'{arguments.match!r}, which fits none', advice))
        if arguments.json:
            print(render.modules_as_json(rows))
        else:
            render.print_modules(rows, console)
        return
    findings = check(config)
    if arguments.strict:
        findings.faults, findings.warnings = [*findings.faults, *findings.warnings], []
    if arguments.json:
        print(render.findings_as_json(findings))
    else:
        render.print_findings(findings, console)
    if findings.faults:
        sys.stdout.flush()
        raise UserError(*findings.faults)
    if arguments.dump:
        cache = written.model.get('teacher_cache')
        written.model = config.model
        if cache is not None:
            written.model.teacher_cache = cache
        written.dump(arguments.dump)
    if not arguments.json:
        console.print(
            f'{arguments.config}: good, {findings.seconds:.1f} s', markup=False, highlight=False, soft_wrap=True
        )


def check_target(path: Path) -> None:
    """Refuse a file that a config cannot be written to."""
    if path.suffix != '.py':
        raise UserError(Fault('--dump', 'a .py file', str(path), f'write {path.with_suffix(".py")}'))
    require_writable('--dump', path)
