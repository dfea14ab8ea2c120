"""Write a config for a new pair: ``python tools/new_config.py``, or ``kd new``."""

import sys

from kd_plugins.cli.new import main

if __name__ == '__main__':
    sys.exit(main())
