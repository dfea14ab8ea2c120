"""Write a config of MMRazor as one of this package: ``python tools/translate_config.py``, or ``kd translate``."""

import sys

from kd_plugins.cli.translate import main

if __name__ == '__main__':
    sys.exit(main())
