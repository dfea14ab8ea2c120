"""Check a config without training: ``python tools/check_config.py CONFIG``, or ``kd check``."""

import sys

from kd_plugins.cli.check import main

if __name__ == '__main__':
    sys.exit(main())
