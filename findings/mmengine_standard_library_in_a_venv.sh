#!/usr/bin/env bash
# mmengine takes the standard library for third-party code, where Python runs in a virtual environment.
#
# Guess: a text config with `import json` above its `_base_` is read as one with `import sys` is.
# Seen with mmengine 0.10.7 and torch 2.13.0, Python 3.11, in an environment made by `python -m venv`:
#   sys  is read, and so is itertools, for both are built into the interpreter
#   math, json, os and statistics end in a ConfigParsingError about the inheritance chain: the file counts as a
#   pure-Python config, whose imports are put off, and such a config may not have a `_base_`
# mmengine compares the file of the module with the folder of the interpreter, in which a virtual environment has no
# standard library. The message names neither the import nor the environment.
#
# Usage: bash findings/mmengine_standard_library_in_a_venv.sh [python]; needs pip. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${1:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check install -q torch==2.13.0 numpy 'setuptools<81' \
    opencv-python-headless mmengine==0.10.7
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee "$folder/seen"
from pathlib import Path

from mmengine.config import Config

Path('base.py').write_text('batch_size = 32\n')
for module in ('sys', 'itertools', 'math', 'json', 'os', 'statistics'):
    path = Path(f'uses_{module}.py')
    path.write_text(f"import {module}\n\n_base_ = ['./base.py']\n")
    try:
        print(module, Config.fromfile(path).batch_size)
    except Exception as error:
        print(module, type(error).__name__, 'inheritance chain' in str(error), module in str(error))
PYTHON
diff "$folder/seen" - <<'EXPECTED'
sys 32
itertools 32
math ConfigParsingError True False
json ConfigParsingError True False
os ConfigParsingError True False
statistics ConfigParsingError True False
EXPECTED
echo unchanged
