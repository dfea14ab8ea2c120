"""Train a config over a grid and several seeds, with and without distillation, and compare.

``kd sweep CONFIG --grid tau=2,4,8 --seeds 5`` trains every combination with every seed, the student alone
for as many epochs, and the student alone with as much compute; then it writes the report. Started again, it goes on
where it was.
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kd_plugins.build import library_folder
from kd_plugins.engine.command_line import ArgumentParser, KeyValueAction, command
from kd_plugins.report.report import make_report, write_report
from kd_plugins.report.result import FILE, Result, find_results
from kd_plugins.report.terminal import print_report
from kd_plugins.sweep import LAUNCHERS, LOG, Failure, Launcher, Run, Sweep, prepare, run_sweep

# each run of a sweep is a process of its own
TRAIN = (library_folder('kd_plugins') / 'tools' / 'train.py').resolve()
FAILED_STATUS = 1


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line, run what is not done, and write the report."""
    parser = ArgumentParser(
        prog=prog, description='Train a config over a grid and several seeds, and report what it gains'
    )
    parser.add_argument('config', help='path of the config file')
    parser.add_argument(
        '--grid',
        nargs='+',
        action=KeyValueAction,
        default={},
        metavar='KEY=V1,V2',
        help='values of a key of the config, or of its end, e.g. tau=2,4,8',
    )
    parser.add_argument('--seeds', type=int, default=1, metavar='N', help='seeds 0 to N-1')
    parser.add_argument('--jobs', type=int, metavar='N', help='runs at a time; one a GPU, or one, by default')
    parser.add_argument('--launcher', choices=LAUNCHERS, default='local', help='where runs are started')
    parser.add_argument('--baseline', metavar='CONFIG', help='held against; the student alone by default')
    parser.add_argument('--work-dir', type=Path, help='work_dirs/sweep_<name of the config> by default')
    parser.add_argument('--yes', action='store_true', help='more than 1000 runs are meant')
    parser.add_argument(
        '--cfg-options', nargs='+', action=KeyValueAction, metavar='KEY=VALUE', help='values to change in all runs'
    )
    arguments = parser.parse_args(argv)

    work_dir = arguments.work_dir or Path('work_dirs') / f'sweep_{Path(arguments.config).stem}'
    sweep = Sweep(
        config=arguments.config,
        grid=arguments.grid,
        seeds=arguments.seeds,
        baseline=arguments.baseline,
        work_dir=work_dir,
        options=arguments.cfg_options or {},
        many=arguments.yes,
    )
    launcher = Launcher(arguments.launcher, TRAIN, arguments.jobs)
    arms = prepare(sweep, here=launcher.kind == 'local')
    with Bar() as bar:
        failures = run_sweep(sweep, arms, launcher, bar)
    results = find_results([work_dir]) if any(work_dir.rglob(FILE)) else []
    if results:
        report = make_report(results, f'Sweep of {Path(arguments.config).stem}')
        print_report(report, write_report(report, work_dir))
    if failures:
        print(describe(failures), file=sys.stderr, flush=True)
        sys.exit(FAILED_STATUS)


class Bar:
    """A progress bar over runs, with a line for each that has ended; in a pipe the lines alone."""

    def __init__(self) -> None:
        console = Console(stderr=True, width=None if sys.stderr.isatty() else 140)
        columns = (
            TextColumn('runs'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.total = self.ended = 0

    def __enter__(self) -> 'Bar':
        self.progress.start()
        self.task = self.progress.add_task('')
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, total: int, done: int) -> None:
        """Begin to count."""
        self.total, self.ended = total, done
        self.progress.update(self.task, total=total, completed=done)
        if done:
            self.progress.console.print(f'{done} of {total} runs were done before', highlight=False)

    def more(self, total: int, done: int) -> None:
        """Count on to another number."""
        self.total, self.ended = total, self.ended + done
        self.progress.update(self.task, total=total, completed=self.ended)

    def end_of(self, run: Run, result: Result | None) -> None:
        """Count a run and say what came of it."""
        self.ended += 1
        self.progress.update(self.task, completed=self.ended)
        said = 'failed' if result is None else f'{result.metric} {result.score:.4g}, {result.training["seconds"]:.0f} s'
        line = f'[{self.ended}/{self.total}] {run.label}: {said}'
        self.progress.console.print(line, markup=False, highlight=False)


def describe(failures: list[Failure]) -> str:
    """The runs that failed, with where to read on."""
    blocks = []
    for failure in failures:
        blocks.append(f'failed: {failure.run.label} (exit status {failure.status}), see {failure.run.folder / LOG}')
        blocks += [f'  | {line}' for line in failure.message.splitlines()]
    return '\n'.join([*blocks, f'{len(failures)} runs failed; start the sweep again to run them once more'])
