"""Export the student of a distillation: ``python tools/export_student.py CONFIG CHECKPOINT OUT``, or ``kd export``."""

import sys

from kd_plugins.cli.export import main

if __name__ == '__main__':
    sys.exit(main())
