"""Train as a config says: ``python tools/train.py CONFIG``, or ``kd train``."""

import sys

from kd_plugins.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
