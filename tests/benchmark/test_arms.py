"""All arms take the same first step: that makes their seconds comparable."""

import pytest
import torch

from kd_plugins.benchmark.arm import AGREEMENT, LeftOut
from kd_plugins.benchmark.peers import modelopt_step, torchdistill_step
from kd_plugins.benchmark.recipe import read_recipe
from kd_plugins.benchmark.setting import Setting
from kd_plugins.benchmark.workload import LEARNING_RATE, Workload
from tools.benchmark import ARMS, Bare, fold

BY_HAND = ['bare', 'bare-best']


def first_loss(workload, name):
    if name == 'mmrazor':
        pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
    return float(ARMS[name](workload)())


@pytest.mark.parametrize('name', [*BY_HAND, 'cache', 'mmrazor'])
def test_first_loss_of_logits(digits, name):
    loss = first_loss(digits, name)
    assert loss > 1
    assert loss == pytest.approx(first_loss(digits, 'ours'), rel=AGREEMENT)


@pytest.mark.slow
@pytest.mark.parametrize('name', [*BY_HAND, 'cache', 'mmrazor'])
def test_first_loss_of_hints(hints, name):
    assert first_loss(hints, name) == pytest.approx(first_loss(hints, 'ours'), rel=AGREEMENT)


@pytest.mark.parametrize('name', ['torchdistill', 'modelopt'])
def test_peers_where_they_are_installed(digits, name):
    try:
        loss = first_loss(digits, name)
    except LeftOut as reason:
        pytest.skip(str(reason))
    assert loss == pytest.approx(first_loss(digits, 'ours'), rel=AGREEMENT)


@pytest.mark.slow
@pytest.mark.parametrize(('step', 'name'), [(torchdistill_step, 'torchdistill'), (modelopt_step, 'modelopt')])
def test_peers_do_logits_alone(hints, step, name):
    with pytest.raises(LeftOut, match=f'{name} does logit KD alone'):
        step(hints, read_recipe(hints.algorithm()))


@pytest.mark.parametrize('name', BY_HAND)
def test_the_same_update(digits, name):
    """Not the loss alone: the weights after a step are those of ours."""
    ours = digits.algorithm()
    before = {key: value.clone() for key, value in ours.student.state_dict().items()}
    ours.train_step(digits.batch(), digits.optim_wrapper(ours))
    loop = ARMS[name](digits)
    loop()
    moved = 0
    for key, value in loop.student.state_dict().items():
        assert torch.allclose(value, ours.student.state_dict()[key], rtol=1e-4, atol=LEARNING_RATE / 10), key
        moved += not torch.equal(value, before[key])
    assert moved == len(before)


def test_the_student_alone_has_its_own_loss(digits):
    algorithm = digits.algorithm()
    log = algorithm.train_step(digits.batch(), digits.optim_wrapper(algorithm))
    assert first_loss(digits, 'student-only') == pytest.approx(log['student.loss'].item(), rel=AGREEMENT)


def test_bfloat16_is_near(digits):
    half = Workload(digits.path, Setting(batch=4, size=8, amp='bf16'))
    exact = first_loss(digits, 'ours')
    for name in ('ours', 'bare-best', 'cache'):
        loss = first_loss(half, name)
        assert loss != exact
        assert loss == pytest.approx(exact, rel=0.05)
    # it stays what it is called
    assert first_loss(half, 'bare') == first_loss(digits, 'bare')


def test_no_arm_leaves_its_marks_on_another(digits):
    first = first_loss(digits, 'ours')
    step = ARMS['bare'](digits)
    for _ in range(3):
        step()
    assert first_loss(digits, 'ours') == first
    assert first_loss(digits, 'bare') == pytest.approx(first, rel=AGREEMENT)


@pytest.mark.slow
def test_folding_leaves_no_batch_norm_and_the_same_logits(hints):
    images = torch.randn(2, 3, 32, 32)
    plain, folded = hints.teacher(), fold(hints.teacher())
    assert sum(isinstance(module, torch.nn.BatchNorm2d) for module in plain.modules()) == 53
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        expected = plain(images)
        assert (folded(images) - expected).norm() < 1e-4 * expected.norm()


def test_a_plain_loop_keeps_nothing_of_its_step(digits):
    loop = Bare(digits, read_recipe(digits.algorithm()))
    loop()
    assert loop.from_teacher == {} == loop.from_student
    assert all(weight.grad is None for weight in loop.student.parameters())
    assert all(weight.grad is None and not weight.requires_grad for weight in loop.teacher.parameters())
