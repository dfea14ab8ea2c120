"""Variants of a config for sweeps."""

import pytest
import torch

from kd_plugins.benchmark.variants import add_recorders, require_distiller, with_losses
from kd_plugins.errors import UserError


def test_more_recorders_change_no_loss(digits):
    more, plain = digits.algorithm(), digits.algorithm()
    add_recorders(more, 20)
    recorders = more.distiller.student_recorders.recorders
    # the student has fewer leaves than that: some are recorded twice
    assert len(recorders) == 21
    more.run_student(**more.data_preprocessor(digits.batch(), True))
    assert sum(len(records) for records in more.distiller.student_recorders.pop().values()) >= 21
    more.load_state_dict(plain.state_dict())
    logs = [one.train_step(digits.batch(), digits.optim_wrapper(one)) for one in (more, plain)]
    assert logs[0]['loss'] == logs[1]['loss']


@pytest.mark.parametrize('count', [1, 3])
def test_more_losses_are_the_same_again(digits, count):
    algorithm = digits.algorithm(with_losses(digits.config, count))
    log = algorithm.train_step(digits.batch(), digits.optim_wrapper(algorithm))
    found = [value for name, value in log.items() if name.startswith('distill.')]
    assert len(found) == count
    assert all(torch.equal(value, found[0]) for value in found)
    assert len(digits.config.model.distiller.distill_losses) == 1


@pytest.mark.slow
def test_fewer_and_more_losses_than_the_config_has(hints):
    for count in (1, 5):
        algorithm = hints.algorithm(with_losses(hints.config, count))
        assert len(algorithm.distiller.distill_losses) == count


def test_an_algorithm_without_such_a_distiller():
    with pytest.raises(UserError, match='ConfigurableDistiller'):
        require_distiller(torch.nn.Linear(1, 1), '--sweep losses')
