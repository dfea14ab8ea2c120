"""Write the teacher's records of the training data to disk: ``python tools/cache_teacher.py``, or ``kd cache``."""

import sys

from kd_plugins.cli.cache import main

if __name__ == '__main__':
    sys.exit(main())
