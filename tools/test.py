"""Evaluate a checkpoint on the test data of a config: ``python tools/test.py CONFIG CHECKPOINT``, or ``kd test``."""

import sys

from kd_plugins.cli.test import main

if __name__ == '__main__':
    sys.exit(main())
