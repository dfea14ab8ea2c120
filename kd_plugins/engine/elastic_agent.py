"""torchrun's agent, which starts the processes of a machine, with ends of ours: stated times, and no vain restarts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler
from torch.distributed.launcher.api import WorkerSpec
from torch.distributed.run import config_from_args, parse_args

from kd_plugins.engine.command_line import USER_ERROR_STATUS

# how long a process has after SIGTERM until SIGKILL, in seconds: after another one died, without which it cannot go on
# (torch's own limit); after a signal to all, to save; after a second signal
AFTER_DEATH = 30
AFTER_SIGNAL = 120
AFTER_SECOND_SIGNAL = 5
STOPPING = (signal.SIGTERM, signal.SIGINT)


class ElasticAgent(LocalElasticAgent):
    """Starts the processes of this machine, and all of them again after one died, as often as it may.

    A process that ends with a mistake of the user, or as it was asked to, would do so again: no restart follows.
    """

    _signalled = False

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        """Meet the other machines, and agree with them on how many restarts there were.

        A machine that restarts because another one did has not counted it, nor has one that takes the place of another,
        and their processes have to resume with the others.
        """
        super()._rendezvous(worker_group)
        allowed = worker_group.spec.max_restarts
        # what torch has set by now, and declares as None
        store: Any = worker_group.store
        machines: Any = worker_group.group_world_size
        store.set(f'restarts/{worker_group.group_rank}', str(allowed - self._remaining_restarts))
        counts = store.multi_get([f'restarts/{rank}' for rank in range(machines)])
        self._remaining_restarts = allowed - max(map(int, counts))

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if not result.is_failed():
            return result
        if not is_accident(result.failures):
            self._remaining_restarts = 0
        if self._remaining_restarts > 0:
            allowed = worker_group.spec.max_restarts
            number = allowed - self._remaining_restarts + 1
            again = f'all start again ({number} of at most {allowed})'
            print(f'{describe_failure(result.failures)}; {again}', file=sys.stderr, flush=True)
        return result

    def _shutdown(self, death_sig: signal.Signals | None = None) -> None:
        """End the processes: asked first, killed later. A signal is given where this process received it."""
        limit = AFTER_SECOND_SIGNAL if self._signalled else AFTER_SIGNAL if death_sig else AFTER_DEATH
        self._signalled = self._signalled or death_sig is not None
        if self._pcontext is not None:
            self._pcontext.close(death_sig or signal.SIGTERM, timeout=limit)
        super()._shutdown(death_sig or signal.SIGTERM)


def run_agent(arguments: Sequence[str]) -> Mapping[int, ProcessFailure]:
    """Run processes to their end.

    Args:
        arguments: torchrun's.

    Returns:
        What failed, by rank; nothing where all ended well.

    Raises:
        SignalException: This process was asked to end, and has ended the others.
        RendezvousError: The machines did not meet.
    """
    config, program, program_arguments = config_from_args(parse_args(list(arguments)))
    os.environ['TORCHELASTIC_SIGNALS_TO_HANDLE'] = config.signals_to_handle
    rendezvous = get_rendezvous_handler(
        RendezvousParameters(
            config.rdzv_backend,
            config.rdzv_endpoint,
            config.run_id,
            config.min_nodes,
            config.max_nodes,
            config.local_addr,
            **config.rdzv_configs,
        )
    )
    spec = WorkerSpec(
        role=config.role,
        local_world_size=config.nproc_per_node,
        rdzv_handler=rendezvous,
        entrypoint=program,
        args=tuple(program_arguments),
        max_restarts=config.max_restarts,
        monitor_interval=config.monitor_interval,
        local_addr=config.local_addr,
    )
    try:
        result = ElasticAgent(spec, config.logs_specs or DefaultLogsSpecs(), config.start_method).run()
    finally:
        # machines that still wait for this one need not
        rendezvous.shutdown()
    return result.failures if result is not None else {}


def describe_failure(failures: Mapping[int, ProcessFailure]) -> str:
    """Say which process ended first, and how.

    Args:
        failures: By rank; one at least.
    """
    rank, failure = _first(failures)
    status = failure.exitcode
    how = f'exit status {status}; its traceback is above' if status > 0 else f'signal {-status}'
    return f'error: process {rank} (pid {failure.pid}) ended with {how}'


def exit_status(failures: Mapping[int, ProcessFailure]) -> int:
    """The exit status of a launch whose processes failed.

    Args:
        failures: By rank; one at least.

    Returns:
        2 where a process ended with a mistake of the user, otherwise the status of the process that ended first: 128 +
        n for one that signal n ended.
    """
    if any(failure.exitcode == USER_ERROR_STATUS for failure in failures.values()):
        return USER_ERROR_STATUS
    status = _first(failures)[1].exitcode
    return status if status > 0 else 128 - status


def is_accident(failures: Mapping[int, ProcessFailure]) -> bool:
    """Whether processes failed otherwise than by a mistake of the user, which they have said, or as they were asked to.

    Args:
        failures: By rank; one at least.
    """
    return exit_status(failures) not in (USER_ERROR_STATUS, *(128 + number for number in STOPPING))


def _first(failures: Mapping[int, ProcessFailure]) -> tuple[int, ProcessFailure]:
    """Rank and failure of the process that ended first, of several within a second one that a signal ended."""

    # the others end because they cannot reach it, or by the agent's SIGTERM; one that hangs is killed, but later
    def order(rank: int) -> tuple[int, bool]:
        return failures[rank].timestamp, failures[rank].exitcode > 0 or failures[rank].exitcode == -signal.SIGTERM

    rank = min(failures, key=order)
    return rank, failures[rank]
