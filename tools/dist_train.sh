#!/usr/bin/env bash
# Train with several processes: bash tools/dist_train.sh CONFIG GPUS [ARGS of tools/train.py]
# NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment describe several machines.
# --max-restarts N among ARGS: after a process died, start all again, up to N times, from the newest checkpoint.
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$(dirname "$TOOLS")${PYTHONPATH:+:$PYTHONPATH}"
# the interpreter of `make install`, where no other environment is active
[ -n "$VIRTUAL_ENV" ] || PATH="$(dirname "$TOOLS")/.venv/bin:$(dirname "$TOOLS")/.venv-onedl/bin:$PATH"
exec python "$TOOLS/dist_launch.py" train "$@"
