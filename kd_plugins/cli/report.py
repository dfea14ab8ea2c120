"""Compare finished runs, with and without distillation: ``kd report WORK_DIR…``."""

from pathlib import Path

from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.errors import Fault, UserError
from kd_plugins.report.report import make_report, write_report
from kd_plugins.report.result import find_results
from kd_plugins.report.terminal import print_report


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line, print the comparison and write it."""
    parser = ArgumentParser(
        prog=prog, description='Compare finished runs, with and without distillation, over their seeds'
    )
    parser.add_argument('folders', nargs='+', metavar='WORK_DIR', help='of a sweep or of trainings')
    parser.add_argument('--out', type=Path, help='folder of the report; the first WORK_DIR by default')
    arguments = parser.parse_args(argv)

    report = make_report(find_results(arguments.folders), title_of(arguments.folders))
    out = arguments.out or Path(arguments.folders[0])
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = write_report(report, out)
    except OSError as error:
        raise UserError(Fault('--out', 'a folder that can be written', str(error), 'choose another')) from error
    print_report(report, files)


def title_of(folders: list[str]) -> str:
    """The heading of a report, by the folders that it is of."""
    return f'Distillation: {", ".join(Path(folder).name for folder in folders)}'
