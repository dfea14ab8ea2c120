"""Write a config of MMRazor as one of this package: ``python tools/translate_config.py IN -o OUT``."""

import sys
from pathlib import Path

from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.engine.config import describe_notes
from kd_plugins.engine.translation import write_translated
from kd_plugins.scaffold import check_target


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the command line, translate, and write."""
    parser = ArgumentParser(
        description='Write the native equivalent of a config of MMRazor: mmpretrain for mmcls, our types for its own'
    )
    parser.add_argument('config', metavar='IN', help='path of the config of MMRazor')
    parser.add_argument('-o', '--out', required=True, type=Path, metavar='OUT', help='config to write, NAME.py')
    arguments = parser.parse_args(argv)

    check_target(arguments.out)
    notes = write_translated(arguments.config, arguments.out)
    print(describe_notes(arguments.config, notes))
    print(f'{arguments.out}: written; look at it with python tools/check_config.py {arguments.out}')


if __name__ == '__main__':
    sys.exit(main())
