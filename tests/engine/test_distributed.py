"""Two processes compute what one process computes on both their batches, and launchers are checked."""

import time

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS
from torch import nn
from toy import algorithm_config, toy_batch

from kd_plugins.engine import command_line, distributed
from kd_plugins.engine.command_line import command
from kd_plugins.engine.distributed import check_gpus, prepare_distributed, rank_of_speaker
from kd_plugins.errors import Fault, UserError

PROCESSES = 2
BATCH = 8
STEPS = ('distilling', 'stopped', 'stopped again')


def build(trainable_teacher):
    """The toy pair with L2Loss, KLDivergence and a connector; what depends on the batch or on chance is off."""
    torch.manual_seed(0)
    config = algorithm_config(teacher_trainable=trainable_teacher)
    algorithm = MODELS.build(dict(type='kd_plugins.SingleTeacherDistill', **config)).train()
    for module in algorithm.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.Dropout)):
            module.eval()
    return algorithm


def step(model, algorithm, batch):
    """Losses and gradients of one step; for several processes the losses are the mean over them."""
    algorithm.zero_grad()
    losses = model(**batch, mode='loss')
    total, log = algorithm.parse_losses(losses)
    total.backward()
    values = torch.stack([log[name].detach() for name in sorted(log)])
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
        values /= PROCESSES
    gradients = {name: parameter.grad.clone() for name, parameter in algorithm.named_parameters()}
    return dict(zip(sorted(log), values.tolist(), strict=True)), gradients


def steps(model, algorithm, batch):
    """One step of a distillation, and two after it was stopped: what DDP misses in a step it says in the next."""
    results = [step(model, algorithm, batch)]
    algorithm.distillation_stopped = True
    return [*results, step(model, algorithm, batch), step(model, algorithm, batch)]


def run_process(rank, trainable_teacher, folder):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=PROCESSES
    )
    algorithm = build(trainable_teacher)
    model = MMDistributedDataParallel(algorithm, broadcast_buffers=False)
    half = {name: value.chunk(PROCESSES)[rank] for name, value in toy_batch(BATCH).items()}
    torch.save(steps(model, algorithm, half), f'{folder}/rank_{rank}.pth')
    torch.distributed.destroy_process_group()


@pytest.fixture(scope='module', params=[False, True], ids=['frozen teacher', 'trainable teacher'])
def results(request, tmp_path_factory):
    """The steps of one process, and those of each of two."""
    folder = tmp_path_factory.mktemp('processes')
    torch.multiprocessing.spawn(run_process, (request.param, str(folder)), nprocs=PROCESSES)
    algorithm = build(request.param)
    alone = steps(algorithm, algorithm, toy_batch(BATCH))
    return alone, [torch.load(folder / f'rank_{rank}.pth') for rank in range(PROCESSES)]


@pytest.mark.slow
@pytest.mark.parametrize('index', range(len(STEPS)), ids=STEPS)
def test_two_processes_equal_one_with_the_doubled_batch(results, index):
    alone, both = results
    losses, gradients = alone[index]

    for process in both:
        assert process[index][0] == pytest.approx(losses, rel=1e-5)
        assert process[index][1].keys() == gradients.keys()
        for name, gradient in gradients.items():
            scale = gradient.abs().max().item()
            torch.testing.assert_close(process[index][1][name], gradient, rtol=1e-5, atol=1e-5 * scale, msg=name)


@pytest.mark.slow
def test_connectors_learn_until_distillation_stops(results):
    alone, _ = results
    names = [name for name in alone[0][1] if name.startswith('distiller.connectors.widen.conv_module.')]

    assert names
    assert all(alone[0][1][name].abs().sum() > 0 for name in names)
    assert all(alone[1][1][name].abs().sum() == 0 for name in names)


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables of a launcher, and no other's."""
    for names in distributed.PROCESS_VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)

    def set_variables(launcher, *values):
        for name, value in zip(distributed.PROCESS_VARIABLES[launcher], values, strict=True):
            monkeypatch.setenv(name, str(value))

    return set_variables


@pytest.mark.parametrize(
    ('launcher', 'advice'), [('pytorch', 'dist_train.sh'), ('slurm', 'slurm_train.sh'), ('mpi', 'mpirun')]
)
def test_launcher_that_did_not_start_the_process(environment, launcher, advice):
    with pytest.raises(UserError, match=rf'--launcher.*{launcher}, but .* is not set.*{advice}'):
        prepare_distributed(Config(dict(launcher=launcher)))


def test_without_a_launcher_the_config_stays(environment):
    config = Config(dict(launcher='none'))
    prepare_distributed(config)
    assert config.to_dict() == {'launcher': 'none'}


@pytest.mark.parametrize(('processes', 'gpus'), [(2, 1), (9, 8)])
def test_more_processes_than_gpus(environment, monkeypatch, processes, gpus):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    expected = f'GPUS: expected at most {gpus}, the GPUs of this machine, got {processes}'

    with pytest.raises(UserError, match=expected):
        check_gpus(processes)
    environment('slurm', processes - 1, processes, processes - 1)
    with pytest.raises(UserError, match=expected):
        prepare_distributed(Config(dict(launcher='slurm')))


@pytest.mark.parametrize(('processes', 'gpus'), [(1, 1), (8, 8), (64, 0)])
def test_gpus_suffice_or_there_are_none(monkeypatch, processes, gpus):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    check_gpus(processes)


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_without_gpus_the_processes_meet_through_gloo(environment, monkeypatch, launcher):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in ('MASTER_ADDR', 'MASTER_PORT', *distributed.PROCESS_VARIABLES['pytorch']):
        monkeypatch.setenv(name, 'restored after the test')
        monkeypatch.delenv(name)
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', '0')
    environment(launcher, 0, 1, 0)
    config = Config(
        dict(launcher=launcher, find_unused_parameters=True, env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=9)))
    )

    prepare_distributed(config)
    try:
        assert torch.distributed.get_backend() == 'gloo'
        assert torch.distributed.get_world_size() == 1
    finally:
        torch.distributed.destroy_process_group()
    assert config.env_cfg.dist_cfg == dict(backend='gloo', timeout=9)
    assert config.model_wrapper_cfg.device_ids is None
    assert config.model_wrapper_cfg.find_unused_parameters is True


def test_slurm_without_scontrol(environment, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in ('MASTER_ADDR', 'MASTER_PORT', *distributed.PROCESS_VARIABLES['pytorch']):
        monkeypatch.setenv(name, 'restored after the test')
        monkeypatch.delenv(name)
    monkeypatch.setenv('PATH', '')
    environment('slurm', 0, 1, 0)

    with pytest.raises(UserError, match=r'scontrol failed.*set MASTER_ADDR'):
        prepare_distributed(Config(dict(launcher='slurm')))


@pytest.mark.parametrize(
    ('launcher', 'values', 'rank'),
    [('pytorch', (9, 16, 1), 1), ('pytorch', (8, 16, 0), 0), ('slurm', (8, 16, 0), 8), ('mpi', (3, 4, 3), 3)],
)
def test_one_process_speaks(environment, launcher, values, rank):
    assert rank_of_speaker() == 0
    environment(launcher, *values)
    assert rank_of_speaker() == rank


@pytest.mark.parametrize('rank', [0, 1])
def test_other_processes_wait_for_the_first_to_speak(environment, monkeypatch, capsys, rank):
    monkeypatch.setattr(command_line, 'PATIENCE', 0.2)
    environment('pytorch', rank, 2, rank)

    @command
    def main():
        raise UserError(Fault('here', 'this', 'that', 'mend it'))

    start = time.monotonic()
    assert main() == 2
    assert (time.monotonic() - start > 0.2) == bool(rank)
    assert 'error: here' in capsys.readouterr().err


def test_interruption_is_no_crash(environment, capsys):
    @command
    def main():
        raise KeyboardInterrupt

    assert main() == 130
    assert capsys.readouterr().err == 'interrupted\n'
