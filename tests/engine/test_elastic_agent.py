"""Which failures are worth a restart, what is said of them, and how long the other processes have."""

import signal
from collections import Counter

import pytest
from torch.distributed.elastic.agent.server.api import RunResult, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from kd_plugins.engine import elastic_agent
from kd_plugins.engine.elastic_agent import ElasticAgent, describe_failure, exit_status, is_accident


def failures(*statuses):
    """Failures within one second, of ranks from 0 on."""
    found = {}
    for rank, status in enumerate(statuses):
        found[rank] = ProcessFailure(local_rank=rank, pid=100 + rank, exitcode=status, error_file='')
        found[rank].timestamp = 7
    return found


@pytest.mark.parametrize(
    ('statuses', 'status', 'accident', 'said'),
    [
        ((1,), 1, True, 'error: process 0 (pid 100) ended with exit status 1; its traceback is above'),
        ((-9,), 137, True, 'error: process 0 (pid 100) ended with signal 9'),
        # the others end for want of it
        ((1, -9, 1), 137, True, 'error: process 1 (pid 101) ended with signal 9'),
        ((1, -15), 1, True, 'error: process 0 (pid 100) ended with exit status 1; its traceback is above'),
        ((-15, 2), 2, False, None),
        ((1, 2), 2, False, None),
        ((143, 143), 143, False, None),
        ((130,), 130, False, None),
        ((-15,), 143, False, None),
    ],
)
def test_failure(statuses, status, accident, said):
    found = failures(*statuses)

    assert exit_status(found) == status
    assert is_accident(found) is accident
    if said:
        assert describe_failure(found) == said


def test_the_first_to_end_counts():
    found = failures(143, -9)
    found[1].timestamp = 30

    assert exit_status(found) == 143


class Group:
    """What the agent asks a group of workers for."""

    def __init__(self, restarts, store=None, rank=0):
        self.spec = self
        self.max_restarts = restarts
        self.store, self.group_rank, self.group_world_size = store, rank, 2


class Store(dict):
    def set(self, key, value):
        self[key] = value

    def multi_get(self, keys):
        return [self[key].encode() for key in keys]


@pytest.fixture
def agent(monkeypatch):
    """An agent whose workers are not there."""
    agent = object.__new__(ElasticAgent)
    agent._pcontext = None
    monkeypatch.setattr(LocalElasticAgent, '_rendezvous', lambda self, group: None)
    monkeypatch.setattr(LocalElasticAgent, '_shutdown', lambda self, death_sig: None)
    return agent


@pytest.mark.parametrize(('statuses', 'left'), [((-9,), 2), ((1, 1), 2), ((2,), 0), ((143,), 0)])
def test_what_is_worth_a_restart(agent, monkeypatch, capsys, statuses, left):
    result = RunResult(state=WorkerState.FAILED, failures=failures(*statuses))
    monkeypatch.setattr(LocalElasticAgent, '_monitor_workers', lambda self, group: result)
    agent._remaining_restarts = 2

    assert agent._monitor_workers(Group(restarts=3)) is result

    assert agent._remaining_restarts == left
    assert ('all start again (2 of at most 3)' in capsys.readouterr().err) is bool(left)


@pytest.mark.parametrize(('own', 'of_other'), [(0, 1), (1, 0), (1, 1), (2, 1)])
def test_machines_agree_on_the_count_of_restarts(agent, own, of_other):
    agent._remaining_restarts = 3 - own

    agent._rendezvous(Group(3, Store({'restarts/1': str(of_other)})))

    assert agent._remaining_restarts == 3 - max(own, of_other)


def test_time_that_processes_have_to_end(agent):
    class Workers:
        limits = Counter()

        def close(self, number, timeout):
            self.limits[number, timeout] += 1

    agent._pcontext = workers = Workers()
    agent._shutdown()
    agent._shutdown(signal.SIGINT)
    agent._shutdown()

    assert list(workers.limits) == [
        (signal.SIGTERM, elastic_agent.AFTER_DEATH),
        (signal.SIGINT, elastic_agent.AFTER_SIGNAL),
        (signal.SIGTERM, elastic_agent.AFTER_SECOND_SIGNAL),
    ]
