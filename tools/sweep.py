"""Train a config over a grid and several seeds, and compare: ``python tools/sweep.py CONFIG``, or ``kd sweep``."""

import sys

from kd_plugins.cli.sweep import main

if __name__ == '__main__':
    sys.exit(main())
