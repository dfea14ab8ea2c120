"""Start a tool in several processes with torchrun; ``dist_train.sh`` and ``dist_test.sh`` come here."""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path

import torch
import torch.distributed.run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from kd_plugins.engine.command_line import INTERRUPTED_STATUS, USER_ERROR_STATUS, command
from kd_plugins.engine.distributed import DEFAULT_PORT, check_gpus
from kd_plugins.errors import Fault, UserError

TOOLS = Path(__file__).resolve().parent
# the arguments before ARGS; GPUS is ours, the others are the tool's
ARGUMENTS = {'train': ('CONFIG', 'GPUS'), 'test': ('CONFIG', 'CHECKPOINT', 'GPUS')}


@command
def main(argv: list[str] | None = None) -> None:
    """Read the command line and the environment, and run the processes to their end."""
    tool, *arguments = sys.argv[1:] if argv is None else argv
    names = ARGUMENTS[tool]
    usage = f'bash tools/dist_{tool}.sh {" ".join(names)} [ARGS of tools/{tool}.py]'
    if '-h' in arguments or '--help' in arguments:
        print(f'usage: {usage}\nNNODES, NODE_RANK, MASTER_ADDR and PORT come from the environment.')
        return
    if len(arguments) < len(names):
        got = f'{len(arguments)} of them' if arguments else 'none'
        raise UserError(Fault(f'dist_{tool}.sh', ' '.join(names), got, f'run {usage}'))

    gpus = arguments.pop(names.index('GPUS'))
    processes = _whole_number('GPUS', gpus, 1, f'run {usage}')
    check_gpus(processes)
    _set_threads(processes)
    given = len(names) - 1
    script = [str(TOOLS / f'{tool}.py'), *arguments[:given], '--launcher', 'pytorch', *arguments[given:]]
    status = _run([f'--nproc-per-node={processes}', *_rendezvous(), *script])
    if status:
        sys.exit(status)


def _run(arguments: list[str]) -> int:
    """Run torchrun.

    Returns:
        The exit status of the process that failed first, 128 + n for one that signal n ended; 0 where none failed.
    """
    if 'LOGLEVEL' not in os.environ:
        # torchrun wraps each failure of a process in pages of its own
        logging.disable(logging.ERROR)
    try:
        torch.distributed.run.run(torch.distributed.run.parse_args(arguments))
    except ChildFailedError as error:
        failed = {rank: failure.exitcode for rank, failure in error.failures.items()}
        if USER_ERROR_STATUS in failed.values():
            return USER_ERROR_STATUS  # the process has said why
        rank, failure = error.get_first_failure()
        status = failure.exitcode
        how = f'exit status {status}; its traceback is above' if status > 0 else f'signal {-status}'
        print(f'error: process {rank} (pid {failure.pid}) ended with {how}', file=sys.stderr)
        return status if status > 0 else 128 - status
    except SignalException as signal:
        return 128 + signal.sigval
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    return 0


def _rendezvous() -> list[str]:
    """Where the processes meet, from the environment variables of OpenMMLab's scripts, as torchrun's options."""
    nodes = _whole_number('NNODES', os.environ.get('NNODES') or '1', 1)
    node = _whole_number('NODE_RANK', os.environ.get('NODE_RANK') or '0', 0)
    if node >= nodes:
        raise UserError(Fault('NODE_RANK', f'less than NNODES, {nodes}', str(node), 'count the machines from 0'))
    port = os.environ.get('PORT')
    if not port:
        port = DEFAULT_PORT if nodes > 1 else str(_free_port())
    if not 0 < _whole_number('PORT', port, 1) < 2**16:
        raise UserError(Fault('PORT', 'a port number below 65536', port, 'choose another'))
    if node == 0 and not _is_free(int(port)):
        raise UserError(Fault('PORT', 'a port that is free', f'{port}, which is in use', 'set PORT to another'))
    address = os.environ.get('MASTER_ADDR') or '127.0.0.1'
    return [f'--nnodes={nodes}', f'--node-rank={node}', f'--master-addr={address}', f'--master-port={port}']


def _set_threads(processes: int) -> None:
    """Share the cores among the processes where they compute on them; the user's own number stands."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    threads = 1 if torch.cuda.device_count() else max(1, cores // processes)
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))
    os.environ.setdefault('MKL_NUM_THREADS', os.environ['OMP_NUM_THREADS'])


def _whole_number(name: str, text: str, least: int, advice: str = 'correct it') -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise UserError(Fault(name, f'a whole number from {least} on', repr(text), advice))
    return int(text)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('', 0))
        return listener.getsockname()[1]


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(('', port))
        except OSError:
            return False
    return True


if __name__ == '__main__':
    sys.exit(main())
