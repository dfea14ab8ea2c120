"""Draw what a distillation compares: ``python tools/visualize_features.py``, or ``kd visualize``."""

import sys

from kd_plugins.cli.visualize import main

if __name__ == '__main__':
    sys.exit(main())
