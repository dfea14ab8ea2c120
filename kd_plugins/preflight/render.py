"""The findings of a preflight as text, for people and for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kd_plugins.errors import Fault
from kd_plugins.preflight.connection import describe_connector
from kd_plugins.preflight.findings import Findings, LossTrace, ModelSummary, SourceTrace, StepCost
from kd_plugins.preflight.modules import ModuleRow
from kd_plugins.preflight.shapes import Shape, describe_shape

# a pipe has no width of its own
PIPE_WIDTH = 160
GRADIENTS_SHOWN = 8


def notes(findings: Findings) -> list[str]:
    """What a run says of its preflight at its start: connectors that were chosen, and warnings."""
    lines = [f'preflight: good, {findings.seconds:.1f} s']
    lines += [f'preflight: {where} = {_chosen(config)}' for where, config in findings.chosen.items()]
    lines += [
        f'warning: {fault.where}: expected {fault.expected}, got {fault.got}; {fault.advice}'
        for fault in findings.warnings
    ]
    return lines


def print_findings(findings: Findings, console: Console) -> None:
    """Print the report: losses, models, cost of a step, choices and warnings; faults are said as errors."""
    if findings.losses:
        console.print(_losses(findings.losses, findings.batch))
    if findings.models:
        console.print(_models(findings))
    if findings.cost is not None:
        console.print(_cost(findings.cost), highlight=False)
    if findings.chosen:
        console.print(Text('\nconnectors that were worked out', style='bold'))
        for where, config in findings.chosen.items():
            console.print(f'  {where} = {_chosen(config)}', markup=False, highlight=False, soft_wrap=True)
    if findings.without_gradient is not None:
        console.print(_gradients(findings.without_gradient), soft_wrap=True)
    for warning in findings.warnings:
        console.print(_warning(warning), soft_wrap=True)


def findings_as_json(findings: Findings) -> str:
    """The findings as JSON; ``good`` says whether the config can run."""
    entries = {'good': not findings.faults, **findings.as_dict()}
    return json.dumps(_finite(entries), indent=2, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    """Plain values with None for numbers that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(child) for key, child in value.items()}
    return [_finite(child) for child in value] if isinstance(value, (list, tuple)) else value


def print_modules(rows: Sequence[ModuleRow], console: Console) -> None:
    """Print what can be recorded: name, class, number of calls, and what each call returns."""
    table = Table(box=None, pad_edge=False, header_style='bold')
    for heading in ('module', 'class', 'calls', 'output'):
        table.add_column(heading, justify='right' if heading == 'calls' else 'left', no_wrap=True)
    for row in rows:
        table.add_row(Text(row.name or "''"), row.kind, str(len(row)), Text(_outputs(row.outputs)))
    console.print(table)


def modules_as_json(rows: Iterable[ModuleRow]) -> str:
    """The modules as JSON."""
    entries = [{'name': row.name, 'kind': row.kind, 'calls': len(row), 'outputs': row.outputs} for row in rows]
    return json.dumps(entries, indent=2)


def report_console(stream: Any, is_terminal: bool) -> Console:
    """A console for the report: as wide as the terminal, or wide enough for the tables in a pipe."""
    return Console(file=stream, width=None if is_terminal else PIPE_WIDTH)


def _losses(losses: Iterable[LossTrace], batch: Shape | None) -> Table:
    title = 'Distill losses' + (f', for images {describe_shape(batch)}' if batch is not None else '')
    table = Table(title=title, title_justify='left', title_style='bold', header_style='bold')
    for heading in ('loss', 'weight', 'source', 'calls', 'shape', 'connector', 'shape after it'):
        table.add_column(heading, justify='right' if heading in ('weight', 'calls') else 'left')
    for loss in losses:
        for index, source in enumerate(loss.sources):
            first = index == 0
            table.add_row(
                Text(f'{loss.name}\n{loss.kind}' if first else ''),
                _weight(loss) if first else '',
                *map(Text, _source(source)),
                end_section=index == len(loss.sources) - 1,
            )
    return table


def _source(source: SourceTrace) -> tuple[str, ...]:
    return (
        f'{source.side}: {source.source}',
        '-' if source.calls is None else str(source.calls),
        '-' if source.shape is None else describe_shape(source.shape),
        source.connector or '-',
        '-' if source.connected is None else describe_shape(source.connected),
    )


def _weight(loss: LossTrace) -> str:
    if loss.weight is None:
        return '-'
    if loss.effective_weight in (None, loss.weight):
        return f'{loss.weight:g}'
    return f'{loss.weight:g}\nacts as {loss.effective_weight:g}'


def _models(findings: Findings) -> Table:
    table = Table(title='Models', title_justify='left', title_style='bold', header_style='bold')
    for heading in ('', 'model', 'parameters', 'trained', 'tensors loaded', 'weights'):
        table.add_column(heading, justify='left' if heading in ('', 'model', 'weights') else 'right')
    for row in findings.models:
        loaded = f'{row.loaded} of {row.tensors}'
        weights = Text(f'{row.weights}{_by_part(row)}')
        table.add_row(row.role, Text(row.name), f'{row.parameters:,}', f'{row.trainable:,}', loaded, weights)
    return table


def _by_part(row: ModelSummary) -> str:
    """Which parts of a model the tensors were loaded into, where that is not all of them."""
    if row.loaded in (0, row.tensors):
        return ''
    return '\n' + ', '.join(f'{part.name or "itself"} {part.loaded} of {part.tensors}' for part in row.parts)


def _cost(cost: StepCost) -> Group:
    parts = {'teacher': cost.teacher, 'student': cost.student, 'connectors and losses': cost.losses}
    total = sum(parts.values()) or 1.0
    shares = ', '.join(f'{name} {value / 1e9:.2f} ({value / total:.0%})' for name, value in parts.items())
    return Group(
        Text('Cost of a step', style='bold'),
        Text(f'  {total / 1e9:.2f} GFLOP an image, forward and backward: {shares}'),
    )


def _gradients(names: Sequence[str]) -> Text:
    if not names:
        return Text('every trained parameter gets a gradient: find_unused_parameters is not needed')
    shown = ', '.join(names[:GRADIENTS_SHOWN]) + (', …' if len(names) > GRADIENTS_SHOWN else '')
    return Text(f'{len(names)} trained parameters get no gradient ({shown}): find_unused_parameters=True is needed')


def _chosen(config: Any) -> str:
    if config is None:
        return 'None: nothing is needed'
    parts = config if isinstance(config, list) else [config]
    return f'{config!r}  # {", ".join(map(describe_connector, parts))}'


def _warning(fault: Fault) -> Text:
    text = Text('warning: ', style='yellow')
    text.append(fault.where, style='bold')
    for heading, value in (('expected:', fault.expected), ('got:     ', fault.got), ('to do:   ', fault.advice)):
        text.append(f'\n  {heading} {value}', style='none')
    return text


def _outputs(outputs: Sequence[Shape]) -> str:
    shapes = list(dict.fromkeys(map(describe_shape, outputs)))
    if not shapes:
        return '- (never runs)'
    return shapes[0] if len(shapes) == 1 else ', '.join(map(describe_shape, outputs))
