"""Reports: what runs left in their work_dirs, as tables and pictures.

The names below are imported when they are first used: every training passes through this package for its log, and
pandas, SciPy and matplotlib, which the tables and the charts need, take longer to import than a small run takes.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kd_plugins.report.chart import draw_chart
    from kd_plugins.report.comparison import Row, markdown_table, terminal_table
    from kd_plugins.report.run_log import RunLog, read_run_log

__all__ = ['Row', 'RunLog', 'draw_chart', 'markdown_table', 'read_run_log', 'terminal_table']

_MODULES = {
    'Row': 'comparison',
    'RunLog': 'run_log',
    'draw_chart': 'chart',
    'markdown_table': 'comparison',
    'read_run_log': 'run_log',
    'terminal_table': 'comparison',
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_MODULES[name]}'), name)
