#!/usr/bin/env bash
# Test with several processes: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [ARGS of tools/test.py]
# NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment describe several machines.
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$(dirname "$TOOLS")${PYTHONPATH:+:$PYTHONPATH}"
# the interpreter of `make install`, where no other environment is active
[ -n "$VIRTUAL_ENV" ] || PATH="$(dirname "$TOOLS")/.venv/bin:$(dirname "$TOOLS")/.venv-onedl/bin:$PATH"
exec python "$TOOLS/dist_launch.py" test "$@"
