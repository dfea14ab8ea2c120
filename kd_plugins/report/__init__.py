"""Reports: what runs left in their work_dirs, as tables and pictures."""

from kd_plugins.report.chart import draw_chart
from kd_plugins.report.comparison import Row, markdown_table, terminal_table
from kd_plugins.report.run_log import RunLog, read_run_log

__all__ = ['Row', 'RunLog', 'draw_chart', 'markdown_table', 'read_run_log', 'terminal_table']
