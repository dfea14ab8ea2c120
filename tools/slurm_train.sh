#!/usr/bin/env bash
# Train under Slurm: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [ARGS of tools/train.py]
# GPUS (8 by default), GPUS_PER_NODE (8, or GPUS where that is less), CPUS_PER_TASK (5) and SRUN_ARGS come from the
# environment: GPUS=16 takes two machines of 8, SRUN_ARGS='--time=1-0 --comment="two words"' is passed on.
#
# A job that Slurm has queued again goes on from the newest checkpoint of its work_dir. One that saves 2 minutes before
# its time is up or it is preempted, and is queued again by itself or by Slurm:
#   sbatch --requeue --open-mode=append --signal=TERM@120 --time=1-0 -p PARTITION --gres=gpu:8 --ntasks=8 \
#       --ntasks-per-node=8 --cpus-per-task=5 --wrap='bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG;
#       status=$?; [ $status -eq 143 ] && scontrol requeue $SLURM_JOB_ID; exit $status'
if [ $# -lt 3 ]; then
    echo "usage: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=…] \\" >&2
    echo "       bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [ARGS of tools/train.py]" >&2
    exit 2
fi
if ! command -v srun >/dev/null; then
    echo "error: srun is not on this machine; log in to your cluster, or run bash tools/dist_train.sh CONFIG GPUS" >&2
    exit 2
fi

PARTITION=$1
JOB_NAME=$2
CONFIG=$3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
CPUS_PER_TASK=${CPUS_PER_TASK:-5}

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$(dirname "$TOOLS")${PYTHONPATH:+:$PYTHONPATH}"
# the interpreter of `make install`, where no other environment is active
[ -n "$VIRTUAL_ENV" ] || PATH="$(dirname "$TOOLS")/.venv/bin:$(dirname "$TOOLS")/.venv-onedl/bin:$PATH"
# as tools/sweep.py reads it: quotes group words, and nothing is expanded
mapfile -d '' -t ARGUMENTS < <(SRUN_ARGS=$SRUN_ARGS python -I -c '
import os, shlex, sys
try:
    arguments = shlex.split(os.environ["SRUN_ARGS"])
except ValueError as error:
    sys.exit(f"error: SRUN_ARGS: {error}: " + os.environ["SRUN_ARGS"])
print(*(argument + "\0" for argument in arguments), sep="", end="")')
wait $! || exit 2
exec srun -p "$PARTITION" \
    --job-name="$JOB_NAME" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="$CPUS_PER_TASK" \
    --kill-on-bad-exit=1 \
    "${ARGUMENTS[@]}" \
    python -u "$TOOLS/train.py" "$CONFIG" --launcher=slurm "${@:4}"
