"""Start a tool in several processes with torchrun; the scripts ``dist_*.sh`` come here."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.rendezvous import RendezvousError

from kd_plugins.engine.command_line import INTERRUPTED_STATUS, ArgumentParser, command
from kd_plugins.engine.distributed import DEFAULT_PORT, LAUNCHED, check_gpus
from kd_plugins.engine.elastic_agent import describe_failure, exit_status, is_accident, run_agent
from kd_plugins.errors import Fault, UserError

TOOLS = Path(__file__).resolve().parent
# the arguments before ARGS; GPUS is ours, the others are the tool's
ARGUMENTS = {
    'train': ('CONFIG', 'GPUS'),
    'test': ('CONFIG', 'CHECKPOINT', 'GPUS'),
    'cache_teacher': ('CONFIG', 'GPUS'),
}
# the option of the launch itself, for the tool that can go on where it was
RESTARTS = '--max-restarts'


@command
def main(argv: list[str] | None = None) -> None:
    """Read the command line and the environment, and run the processes to their end."""
    tool, *arguments = sys.argv[1:] if argv is None else argv
    names = ARGUMENTS[tool]
    usage = f'bash tools/dist_{tool}.sh {" ".join(names)} [ARGS of tools/{tool}.py]'
    if '-h' in arguments or '--help' in arguments:
        print(f'usage: {usage}\nNNODES, NODE_RANK, MASTER_ADDR and PORT come from the environment.')
        if tool == 'train':
            print(f'{RESTARTS} N: after a process died, start all again, up to N times, and go on where it was saved.')
        return
    restarts = _take_restarts(arguments) if tool == 'train' else 0
    if len(arguments) < len(names):
        got = f'{len(arguments)} of them' if arguments else 'none'
        raise UserError(Fault(f'dist_{tool}.sh', ' '.join(names), got, f'run {usage}'))

    gpus = arguments.pop(names.index('GPUS'))
    processes = _whole_number('GPUS', gpus, 1, f'run {usage}')
    check_gpus(processes)
    _set_threads(processes)
    given = len(names) - 1
    script = [str(TOOLS / f'{tool}.py'), *arguments[:given], '--launcher', 'pytorch', *arguments[given:]]
    os.environ[LAUNCHED] = time.strftime('%Y%m%d_%H%M%S')
    options = [f'--nproc-per-node={processes}', f'--max-restarts={restarts}', *_rendezvous(restarts > 0)]
    status = _run([*options, *script])
    if status:
        sys.exit(status)


def _run(arguments: list[str]) -> int:
    """Run the processes with torchrun's arguments.

    Returns:
        The exit status of the process that failed first, 128 + n for one that signal n ended; 0 where none failed.
    """
    if 'LOGLEVEL' not in os.environ:
        # torchrun wraps each failure of a process in pages of its own
        logging.disable(logging.ERROR)
    try:
        failures = run_agent(arguments)
    except SignalException as received:
        return 128 + received.sigval
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    except RendezvousError as error:
        print(f'error: the machines do not meet, or no more: {error}', file=sys.stderr)
        return 1
    if not failures:
        return 0
    if is_accident(failures):
        print(describe_failure(failures), file=sys.stderr)
    return exit_status(failures)


def _take_restarts(arguments: list[str]) -> int:
    """Take the option of the launch out of the arguments, which are the tool's otherwise."""
    parser = ArgumentParser(prog='dist_train.sh', add_help=False, allow_abbrev=False)
    parser.add_argument(RESTARTS, default='0')
    known, arguments[:] = parser.parse_known_args(arguments)
    return _whole_number(RESTARTS, known.max_restarts, 0)


def _rendezvous(restarts: bool) -> list[str]:
    """Where the processes meet, from the environment variables of OpenMMLab's scripts, as torchrun's options.

    Args:
        restarts: Whether all machines may have to meet again.
    """
    machines = 'their number is fixed: start again with --resume on those that are left'
    nodes = _whole_number('NNODES', os.environ.get('NNODES') or '1', 1, machines)
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
    if not restarts:
        return [f'--nnodes={nodes}', f'--node-rank={node}', f'--master-addr={address}', f'--master-port={port}']
    # the processes of each start meet in a store of their own: torch 2.11 leaves the addresses of dead ones in a shared
    os.environ['TORCH_DISABLE_SHARE_RDZV_TCP_STORE'] = '1'
    return [
        f'--nnodes={nodes}',
        '--rdzv-backend=c10d',
        '--rdzv-id=kd_plugins',
        f'--rdzv-endpoint={address}:{port}',
        f'--rdzv-conf=is_host={int(node == 0)}',
        f'--local-addr={_own_address(address, int(port))}',
    ]


def _own_address(address: str, port: int) -> str:
    """The address of this machine that others reach it at; nothing is sent to find it out."""
    try:
        family, kind, *_, target = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as towards:
            towards.connect(target)
            return towards.getsockname()[0]
    except OSError as error:
        raise UserError(
            Fault('MASTER_ADDR', 'the address of the first machine', f'{address} ({error})', 'correct it')
        ) from error


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
