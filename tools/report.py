"""Compare finished runs, with and without distillation: ``python tools/report.py WORK_DIR…``, or ``kd report``."""

import sys

from kd_plugins.cli.report import main

if __name__ == '__main__':
    sys.exit(main())
