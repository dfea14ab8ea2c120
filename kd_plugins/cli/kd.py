"""The console command ``kd``: hands a command line on to its subcommand."""

import importlib
import sys

from kd_plugins.errors import Fault, UserError, closest, format_user_error
from kd_plugins.version import __version__

# a file of this folder each, in the order in which they are listed
COMMANDS = {
    'new': 'write a config for a new pair of models',
    'check': 'check a config without training',
    'train': 'train a model as a config says',
    'test': 'evaluate a checkpoint',
    'cache': "write the teacher's records of the training data to disk",
    'sweep': 'train a config over a grid and several seeds, with and without distillation',
    'report': 'compare finished runs',
    'export': 'write the student of a distillation alone',
    'visualize': 'draw what the losses of a distillation compare',
    'translate': 'write a config of MMRazor as one of kd_plugins',
}
USAGE_STATUS = 2


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; no other is imported.

    Args:
        argv: The command line without the name of the program; that of the process by default.

    Returns:
        The exit status: that of the subcommand, 2 where none was named or the name is unknown.
    """
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ['']
    if name in COMMANDS:
        return importlib.import_module(f'kd_plugins.cli.{name}').main(arguments, prog=f'kd {name}')
    if name in ('-h', '--help'):
        print(describe_commands())
        return 0
    if name == '--version':
        print(f'kd_plugins {__version__}')
        return 0
    if name:
        fault = Fault('kd', f'one of {", ".join(COMMANDS)}', repr(name), closest(name, COMMANDS))
        print(format_user_error(UserError(fault)), file=sys.stderr)
    else:
        # as git does: nothing was run, which a script must not take for success
        print(describe_commands(), file=sys.stderr)
    return USAGE_STATUS


def describe_commands() -> str:
    """How ``kd`` is called, with a line for each subcommand."""
    width = max(map(len, COMMANDS))
    return '\n'.join(
        [
            'usage: kd COMMAND …',
            '',
            'Knowledge distillation for the OpenMMLab stack, driven by config files',
            '',
            *(f'  {name:<{width}}  {summary}' for name, summary in COMMANDS.items()),
            '',
            'kd COMMAND --help explains the arguments of a command; kd --version prints the version.',
        ]
    )
