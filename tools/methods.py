"""Measure every method on the digits: ``python tools/methods.py``.

One VGG-like teacher, a small CNN as student, the same data and schedule for all: the student is trained alone and with
each method, over several seeds. Table and Markdown give the test accuracy and the gain over the student alone. What is
measured is kept in ``work_dirs/quickstart/methods.json``, so that an interrupted measurement goes on where it was;
methods whose config has changed are measured again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

from rich.console import Console
from rich.table import Table

from kd_plugins.arguments import require_writable
from kd_plugins.durable import durable_file
from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.engine.config import load_config
from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.report.run_log import read_run_log

# a script finds its own folder, not the one above
sys.path.insert(0, str(Path(__file__).parents[1]))
from tools.quickstart import CONFIGS, WORK_DIR, run

BEGIN, END = '<!-- measured: begin -->', '<!-- measured: end -->'
HEADINGS = ('method', 'paper', 'config', 'val, %', 'test, %', 'gain', 'better in', 'seconds')
ALONE = 'student alone'
TEACHERS = {
    'teacher_vgg_digits': 0,
    'teacher_vgg_digits_seed1': 1,
    'teacher_vgg_digits_seed2': 2,
}


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        paper: Address of the paper; empty for the student alone.
        stem: Config below ``configs/quickstart``, without ``.py``.
        teachers: Configs of the teachers that it needs.
        first: Config of a stage that is trained before, with the same seed; empty where there is none.
    """

    paper: str
    stem: str
    teachers: tuple[str, ...] = ('teacher_vgg_digits',)
    first: str = ''


def _method(paper: str, name: str, first: str = '') -> Method:
    in_folder = 'methods/{}_vgg_cnn_digits'
    return Method(paper, in_folder.format(name), first=in_folder.format(first) if first else '')


ARXIV = 'https://arxiv.org/abs/'
METHODS = {
    ALONE: Method('', 'student_cnn_digits', ()),
    'KD': Method(f'{ARXIV}1503.02531', 'kd_vgg_cnn_digits'),
    'KD, soft cross entropy': _method(f'{ARXIV}1503.02531', 'kd_soft_ce'),
    'KD of three teachers': Method(
        f'{ARXIV}1503.02531', 'methods/multi_teacher_vgg_cnn_digits', teachers=tuple(TEACHERS)
    ),
    'DKD': _method(f'{ARXIV}2203.08679', 'dkd'),
    'DIST': _method(f'{ARXIV}2205.10536', 'dist'),
    'WSLD': _method(f'{ARXIV}2102.00650', 'wsld'),
    'FitNets': _method(f'{ARXIV}1412.6550', 'fitnets'),
    'L1 hints': _method(f'{ARXIV}1412.6550', 'l1'),
    'AT': _method(f'{ARXIV}1612.03928', 'at'),
    'AB and KD': _method(f'{ARXIV}1811.03233', 'ab'),
    'FT': _method(f'{ARXIV}1802.04977', 'ft', first='ft_pretrain'),
    'OFD': _method(f'{ARXIV}1904.01866', 'ofd'),
    'RKD': _method(f'{ARXIV}1904.05068', 'rkd'),
    'CRD': _method(f'{ARXIV}1910.10699', 'crd'),
    'CWD': _method(f'{ARXIV}2011.13256', 'cwd'),
    'PKD': _method(f'{ARXIV}2207.02039', 'pkd'),
    'MGD': _method(f'{ARXIV}2205.01529', 'mgd'),
    'FBKD': _method('https://openreview.net/forum?id=uKhGRvM8QNH', 'fbkd'),
    'BYOT, no teacher': Method(f'{ARXIV}1905.08094', 'methods/byot_vgg_cnn_digits', ()),
    'DAFL, no data': _method(f'{ARXIV}1904.01186', 'dafl'),
    'DFAD, no data': _method(f'{ARXIV}1912.11006', 'dfad'),
    'ZSKT, no data': _method(f'{ARXIV}1905.09768', 'zskt'),
}


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        config: Digest of the config, without the seed.
        val: Top-1 on the validation images at the end, in percent.
        test: Top-1 on the test images, in percent.
        seconds: Training time, validation and a stage before included.
    """

    config: str
    val: float
    test: float
    seconds: float


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the command line, measure what is not measured yet, print and write the table."""
    parser = ArgumentParser(description='Measure the methods on the embedded digits, against the student alone')
    parser.add_argument('--methods', nargs='+', metavar='NAME', default=list(METHODS), help='all by default')
    parser.add_argument('--seeds', type=int, default=4, metavar='N', help='seeds 0 to N-1')
    parser.add_argument('--out', type=Path, metavar='FILE', help='Markdown file that gets the table')
    arguments = parser.parse_args(argv)
    methods = choose(arguments.methods)
    check_count('--seeds', arguments.seeds)
    if arguments.out:
        require_writable('--out', arguments.out)

    console = Console(width=None if sys.stdout.isatty() else 120)
    store = Store(WORK_DIR / 'methods.json')
    train_teachers(methods, console)
    # seed by seed, so that what is there early compares all methods
    for seed in range(arguments.seeds):
        for index, name in enumerate(methods, start=1):
            measured = measure(METHODS[name], name, seed, store)
            place = f'[seed {seed + 1}/{arguments.seeds}, {index}/{len(methods)}]'
            console.print(f'{place} {name}: {measured.test:.2f} % of the test images', markup=False)
        write_report(rows(methods, seed + 1, store), arguments.out)
    console.print(terminal_table(rows(methods, arguments.seeds, store), arguments.seeds))
    if arguments.out:
        console.print(f'written: {arguments.out}', markup=False)


def choose(names: Sequence[str]) -> list[str]:
    """The methods of these names in the order of the table, and the student alone before them."""
    for name in names:
        if name not in METHODS:
            raise UserError(Fault('--methods', 'names of methods', repr(name), closest(name, METHODS)))
    return [name for name in METHODS if name in names or name == ALONE]


def check_count(option: str, count: int) -> None:
    """Refuse less than one."""
    if count < 1:
        raise UserError(Fault(option, 'a whole number above 0', str(count), '4 is the default'))


class Store:
    """What was measured, in a JSON file.

    Args:
        path: The file; need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        entries = json.loads(path.read_text()) if path.is_file() else {}
        self.entries = {key: Measured(**entry) for key, entry in entries.items()}

    def get(self, method: Method, seed: int) -> Measured | None:
        """What was measured with the config as it is now; None where nothing was."""
        found = self.entries.get(f'{method.stem} {seed}')
        return found if found and found.config == digest(method) else None

    def put(self, method: Method, seed: int, measured: Measured) -> None:
        """Keep a measurement."""
        self.entries[f'{method.stem} {seed}'] = measured
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({key: asdict(entry) for key, entry in self.entries.items()}, indent=1)
        with durable_file(self.path) as file:
            file.write(f'{text}\n'.encode())


def digest(method: Method) -> str:
    """A digest of what the configs of a method say."""
    stems = [stem for stem in (method.first, method.stem) if stem]
    text = ''.join(repr(load_config(CONFIGS / f'{stem}.py').to_dict()) for stem in stems)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def train_teachers(methods: Sequence[str], console: Console) -> None:
    """Train the teachers that are needed and not there yet."""
    needed = {stem for name in methods for stem in METHODS[name].teachers}
    for stem, seed in TEACHERS.items():
        iterations = load_config(CONFIGS / f'{stem}.py').train_cfg.max_iters
        if stem in needed and not (WORK_DIR / stem / f'iter_{iterations}.pth').is_file():
            row = run(f'teacher, seed {seed}', stem, seed)
            console.print(f'teacher of seed {seed}: {row.accuracy:.2f} % of the test images', markup=False)


def measure(method: Method, name: str, seed: int, store: Store) -> Measured:
    """Train and test one method with one seed, unless that was done before."""
    found = store.get(method, seed)
    if found is not None:
        return found
    before = run(f'{name}, first stage', method.first, seed).seconds if method.first else 0.0
    row = run(name, method.stem, seed)
    val = read_run_log(row.work_dir).metrics['accuracy/top1'][-1][1]
    measured = Measured(digest(method), val, row.accuracy, before + row.seconds)
    store.put(method, seed, measured)
    return measured


def rows(methods: Sequence[str], seeds: int, store: Store) -> list[tuple[str, ...]]:
    """The table as text, in the order of :data:`HEADINGS`."""
    measured = {name: [store.get(METHODS[name], seed) for seed in range(seeds)] for name in methods}
    alone = [run_.test for run_ in measured[ALONE] if run_ is not None]
    table = []
    for name in methods:
        runs = [run_ for run_ in measured[name] if run_ is not None]
        tests = [run_.test for run_ in runs]
        gains = [test - without for test, without in zip(tests, alone, strict=True)]
        table.append(
            (
                name,
                METHODS[name].paper,
                METHODS[name].stem,
                f'{mean(run_.val for run_ in runs):.2f}',
                f'{mean(tests):.2f}' + (f' ± {stdev(tests):.2f}' if seeds > 1 else ''),
                '' if name == ALONE else f'{mean(gains):+.2f}',
                '' if name == ALONE else f'{sum(gain > 0 for gain in gains)} of {seeds}',
                f'{mean(run_.seconds for run_ in runs):.0f}',
            )
        )
    return table


def terminal_table(table: Sequence[tuple[str, ...]], seeds: int) -> Table:
    """The table for rich to print, without the configs."""
    shown = [index for index, heading in enumerate(HEADINGS) if heading != 'config']
    result = Table(title=f'Methods on handwritten digits, {seeds} seed{"s" if seeds > 1 else ""}')
    for index in shown:
        result.add_column(HEADINGS[index], justify='left' if index < 2 else 'right', overflow='fold')
    for row in table:
        result.add_row(*(row[index] for index in shown))
    return result


def markdown_table(table: Sequence[tuple[str, ...]], folder: str) -> str:
    """The table in Markdown.

    Args:
        table: Of :func:`rows`.
        folder: From the Markdown file to ``configs/quickstart``.
    """
    lines = [HEADINGS, ('---',) * 3 + ('---:',) * (len(HEADINGS) - 3)]
    for name, paper, stem, *numbers in table:
        link = (
            f'[{paper.removeprefix(ARXIV).removeprefix("https://openreview.net/forum?id=")}]({paper})' if paper else ''
        )
        lines.append((name, link, f'[{Path(stem).name}]({folder}/{stem}.py)', *numbers))
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def write_report(table: Sequence[tuple[str, ...]], out: Path | None) -> None:
    """Write the table into a Markdown file: between its two marks, or as the whole file where it has none."""
    if out is None:
        return
    text = out.read_text() if out.is_file() else ''
    if BEGIN not in text or END not in text:
        text = f'# Methods on the digits\n\n{BEGIN}\n{END}\n'
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    out.write_text(f'{before}{BEGIN}\n{markdown_table(table, "../configs/quickstart")}\n{END}{after}')


if __name__ == '__main__':
    sys.exit(main())
