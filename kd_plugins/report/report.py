"""The matched report of an experiment: tables, sentences and pictures, in every form that is asked for."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from kd_plugins.report.arms import BASELINE, MAIN, SAME_COMPUTE, Arm, Comparison, arms_of, compare
from kd_plugins.report.pictures import draw_report
from kd_plugins.report.result import Result
from kd_plugins.report.tables import gains_table, markdown, models_table, runs_table

LEFT = ('model', 'arm', 'against', 'verdict')
STEM = 'report'


@dataclass(frozen=True)
class Report:
    """What an experiment says.

    Attributes:
        title: Heading.
        arms: Baselines first.
        comparisons: Of the main arms with their baselines.
    """

    title: str
    arms: Sequence[Arm]
    comparisons: Sequence[Comparison]

    @property
    def sentences(self) -> list[str]:
        """The answers in plain words."""
        return [comparison.sentence for comparison in self.comparisons]

    @property
    def models(self) -> pd.DataFrame:
        """A row a model."""
        return models_table(self.arms)

    @property
    def gains(self) -> pd.DataFrame:
        """A row a comparison."""
        return gains_table(self.comparisons)

    @property
    def notes(self) -> list[str]:
        """What a reader has to know to trust the numbers, or not to."""
        return list(_notes(self.arms, self.comparisons))


def make_report(results: Sequence[Result], title: str) -> Report:
    """Sort results into arms and compare them.

    Args:
        results: Of one experiment.
        title: Heading.
    """
    arms = arms_of(results)
    return Report(title, arms, compare(arms))


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write ``report.md``, ``report.csv``, ``report.html`` and the PNG files; earlier ones are replaced.

    Args:
        report: What is written.
        folder: Which exists.

    Returns:
        The files.
    """
    pictures = draw_report(report.arms, report.comparisons, folder)
    lines = [f'# {report.title}', *report.sentences, markdown(report.models, LEFT)]
    if report.comparisons:
        lines.append(markdown(report.gains, LEFT))
    lines += ['\n'.join(f'* {note}' for note in report.notes), *(f'![{file.stem}]({file.name})' for file in pictures)]
    page = folder / f'{STEM}.md'
    page.write_text('\n\n'.join(lines) + '\n', encoding='utf-8')
    table = folder / f'{STEM}.csv'
    runs_table(report.arms).to_csv(table, index=False)
    html = folder / f'{STEM}.html'
    html.write_text(_render(report, pictures), encoding='utf-8')
    return [page, table, html, *pictures]


def _render(report: Report, pictures: Sequence[Path]) -> str:
    """One page that needs no other file."""
    text = resources.files('kd_plugins.report').joinpath('page.html.j2').read_text(encoding='utf-8')
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(text)
    images = [(file.stem, base64.b64encode(file.read_bytes()).decode()) for file in pictures]
    tables = [table for table in (report.models, report.gains) if len(table)]
    return template.render(report=report, tables=tables, runs=runs_table(report.arms), images=images, left=LEFT)


def _notes(arms: Sequence[Arm], comparisons: Sequence[Comparison]) -> Iterator[str]:
    first = arms[0].first
    results = [result for arm in arms for result in arm.results.values()]
    yield (
        f'{arms[0].metric} on the {first.split} data of the config, mean ± standard deviation over seeds; intervals '
        'are about other seeds, not about other test images.'
    )
    for comparison in comparisons:
        if comparison.differences:
            yield (
                f'Not matched: {comparison.arm.name} and {comparison.against.name} also differ in '
                f'{", ".join(comparison.differences)}.'
            )
    unmatched = [arm.name for arm in arms if arm.kind == MAIN and all(arm is not c.arm for c in comparisons)]
    kinds = {arm.kind for arm in arms}
    if unmatched and kinds - {MAIN}:
        yield f'Held against nothing, for none has the same student and seed: {", ".join(unmatched)}.'
    if BASELINE in kinds and SAME_COMPUTE not in kinds and comparisons:
        ratio = max(comparison.arm.cost / comparison.against.cost for comparison in comparisons)
        yield f'No baseline at equal compute: what is held against one costs {ratio:.2f} times as much.'
    if sum(comparison.gain.low is not None for comparison in comparisons) > 2:
        yield f'{len(comparisons)} comparisons: of twenty 95 % intervals, one misses the truth by chance.'
    costs = {result.machine['cpu'] if not result.machine['gpu'] else result.machine['gpu'] for result in results}
    yield (
        'training, s: the steps of one training, without validation and without the training of the teacher; latency: '
        f'one image, preprocessed, weights contiguous in memory, on {", ".join(sorted(costs))}.'
    )
    versions = ', '.join(f'{name} {version}' for name, version in first.versions.items())
    commits = {(result.git or {}).get('commit', 'not known')[:12] for result in results}
    changed = ' with changed files' if any((result.git or {}).get('changed') for result in results) else ''
    yield f'Versions: {versions}. Source: {", ".join(sorted(commits))}{changed}.'
