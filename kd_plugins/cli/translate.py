"""Write a config of MMRazor as one of this package: ``kd translate IN -o OUT``."""

from pathlib import Path

from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.engine.config import describe_notes
from kd_plugins.engine.translation import write_translated
from kd_plugins.scaffold import check_target


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line, translate, and write."""
    parser = ArgumentParser(
        prog=prog,
        description='Write the native equivalent of a config of MMRazor: mmpretrain for mmcls, our types for its own',
    )
    parser.add_argument('config', metavar='IN', help='path of the config of MMRazor')
    parser.add_argument('-o', '--out', required=True, type=Path, metavar='OUT', help='config to write, NAME.py')
    arguments = parser.parse_args(argv)

    check_target(arguments.out)
    notes = write_translated(arguments.config, arguments.out)
    print(describe_notes(arguments.config, notes))
    check = 'kd check' if prog else 'python tools/check_config.py'
    print(f'{arguments.out}: written; look at it with {check} {arguments.out}')
