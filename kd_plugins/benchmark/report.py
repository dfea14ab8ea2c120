"""What was measured, for the eye: tables on the terminal and in Markdown, and two files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from kd_plugins.benchmark.arm import AGREEMENT
from kd_plugins.benchmark.chart import draw_bars
from kd_plugins.benchmark.compare import BARE, OURS
from kd_plugins.benchmark.result import MIB, Result
from kd_plugins.benchmark.rounds import spread_of
from kd_plugins.benchmark.split import STEP

ARMS = ('arm', 'ratio', 'spread', 'ms', 'images/s', 'peak MiB', 'GFLOP', 'first loss')
FLOORS = ('arm', 'kernels', 'arithmetic, ms', 'memory, ms', 'step / larger')
PARTS = ('part of our step', 'median, ms', 'min', 'max', 'of the step')
# of the widest table, in characters
WIDTH = 120


class Page(NamedTuple):
    """A table.

    Attributes:
        title: Heading.
        headings: Of the columns.
        rows: Their cells.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def table(self) -> Table:
        """For the terminal; all columns but the first are numbers."""
        table = Table(title=self.title, title_justify='left')
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify='right' if index else 'left', no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """The same for a page of docs."""
        marks = ['---', *('---:' for _ in self.headings[1:])]
        lines = [f'| {" | ".join(cells)} |' for cells in (self.headings, marks, *self.rows)]
        return '\n'.join([self.title, '', *lines])


def print_result(result: Result, console: Console) -> None:
    """Print everything: tables, what is left out, the machine, and the tables in Markdown.

    Args:
        result: The measurement.
        console: Where. It is made wide enough: a table that wraps is read by nobody.
    """
    console.width = max(console.width, WIDTH)
    pages = pages_of(result)
    for page in pages:
        console.print(page.table())
    for line in remarks_of(result):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for page in pages:
        console.print(f'\n{page.markdown()}', markup=False, highlight=False, soft_wrap=True)


def write_result(result: Result, folder: Path) -> list[Path]:
    """Write ``benchmark.json``, and ``benchmark.png`` where arms were compared.

    Args:
        result: The measurement.
        folder: Made if needed.

    Returns:
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / 'benchmark.json']
    result.write(files[0])
    if result.rounds:
        files.append(folder / 'benchmark.png')
        draw_bars(result.ratios(), files[1], title_of(result), f'time of a step, over that of {result.base}')
    return files


def title_of(result: Result) -> str:
    """The config and what was measured with."""
    setting = result.setting
    amp = 'float32' if setting.amp == 'none' else f'amp {setting.amp}'
    return f'{Path(result.config).stem}, {setting.batch} images of {setting.size} px, {setting.device}, {amp}'


def pages_of(result: Result) -> list[Page]:
    """All tables of a result."""
    pages = []
    if result.rounds:
        title = f'{title_of(result)}: ratio to {result.base}, median of {len(result.rounds)} rounds'
        pages.append(Page(title, ARMS, _arm_rows(result)))
    if any(arm.floor for arm in result.arms.values()):
        pages.append(Page('The least that the GPU could take', FLOORS, _floor_rows(result)))
    if result.split:
        pages.append(Page(f'{title_of(result)}: parts of our step', PARTS, _part_rows(result)))
    for kind, points in result.sweeps.items():
        pages.append(_sweep_page(kind, points, title_of(result)))
    return pages


def remarks_of(result: Result) -> list[str]:
    """What stands below the tables."""
    lines = [f'left out: {name}: {reason}' for name, reason in result.left_out.items()]
    if result.keeps_memory:
        lines.append(f'freed memory is kept for the next step, as in our trainings: {", ".join(result.keeps_memory)}')
    arms = result.arms.items() if result.setting.amp == 'none' else ()
    strays = [name for name, arm in arms if arm.deviation is not None and not arm.deviation <= AGREEMENT]
    if strays:
        lines.append(f'another first loss than ours, so other work: {", ".join(strays)}')
    for steps, size in result.memory_steps.items():
        lines.append(f'memory of the process after {steps} steps of ours: {size / MIB:.0f} MiB')
    facts = {**result.machine, **result.versions}
    lines.append(', '.join(f'{key} {value}' for key, value in facts.items() if value is not None))
    return lines


def _arm_rows(result: Result) -> list[tuple[str, ...]]:
    seconds = result.seconds(result.rounds)
    rows: list[tuple[str, ...]] = []
    for name, ratio in result.ratios().items():
        arm, middle = result.arms[name], seconds[name].median
        loss = f'{arm.first_loss:.4f}' + ('' if arm.deviation is None else f' ({arm.deviation:.0e})')
        times = (f'{ratio.median:.3f}', f'{ratio.min:.3f} to {ratio.max:.3f}', f'{1e3 * middle:.1f}')
        sizes = (f'{arm.peak_bytes / MIB:.1f}', f'{arm.flops / 1e9:.1f}' if arm.flops else '')
        rows.append((name, *times, f'{result.setting.batch / middle:.1f}', *sizes, loss))
    return rows


def _floor_rows(result: Result) -> list[tuple[str, ...]]:
    seconds = result.seconds(result.rounds)
    rows: list[tuple[str, ...]] = []
    for name, arm in result.arms.items():
        if arm.floor:
            times = [f'{1e3 * arm.floor[key]:.1f}' for key in ('arithmetic', 'memory')]
            rows.append((name, str(arm.floor['kernels']), *times, f'{seconds[name].median / arm.floor["seconds"]:.2f}'))
    return rows


def _part_rows(result: Result) -> list[tuple[str, ...]]:
    """Parts, their sum and the step; then the step over their sum, round by round."""
    whole = [one.seconds[STEP] for one in result.split]
    names = [name for name in result.split[0].seconds if name != STEP]
    columns = {name: [one.seconds[name] for one in result.split] for name in names}
    columns['sum of the parts'] = [sum(one.seconds[name] for name in names) for one in result.split]
    columns[STEP] = whole
    rows: list[tuple[str, ...]] = []
    for name, values in columns.items():
        share = spread_of([value / step for value, step in zip(values, whole, strict=True)]).median
        rows.append((name, *_spread(values, 1e3, 1), f'{share:.1%}'))
    ratios = [step / total for step, total in zip(whole, columns['sum of the parts'], strict=True)]
    return [*rows, ('step / sum of the parts', *_spread(ratios, 1, 3), '')]


def _spread(values: Sequence[float], factor: float, digits: int) -> list[str]:
    at = spread_of(values)
    return [f'{factor * value:.{digits}f}' for value in (at.median, at.min, at.max)]


def _sweep_page(kind: str, points: Sequence[dict[str, Any]], title: str) -> Page:
    arms = [name for name in (OURS, BARE) if name in points[0]]
    rows = []
    for point in points:
        times = [f'{1e3 * point[name]["median"]:.1f}' for name in arms]
        ratio = point.get('ratio')
        spread = (f'{ratio["median"]:.3f}', f'{ratio["min"]:.3f} to {ratio["max"]:.3f}') if ratio else ('', '')
        rows.append((str(point['batch' if kind == 'batch' else 'count']), *times, *spread))
    first = {'batch': 'batch', 'recorders': 'extra recorders'}.get(kind, kind)
    base = f'{OURS} / {BARE}' if kind == 'batch' else 'over the fewest'
    return Page(f'{title}: {first}', (first, *(f'{name}, ms' for name in arms), base, 'spread'), rows)
