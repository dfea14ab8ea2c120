"""Two processes compute what one process computes on both their batches, and launchers are checked."""

import gc
import os
import socket
import time
from datetime import timedelta

import pytest
import torch
import torch.distributed
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.registry import MODELS
from mmengine.runner import Runner
from processes import spawn
from torch import nn
from toy import ToyClassifier, algorithm_config, runner_config, snapshot, toy_batch

from kd_plugins.engine import command_line, distributed
from kd_plugins.engine.command_line import command
from kd_plugins.engine.distributed import check_gpus, prepare_distributed, rank_of_speaker, use_loopback, was_restarted
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
    use_loopback()
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/meeting',
        rank=rank,
        world_size=PROCESSES,
        timeout=timedelta(seconds=60),
    )
    algorithm = build(trainable_teacher)
    model = MMDistributedDataParallel(algorithm, broadcast_buffers=False)
    half = {name: value.chunk(PROCESSES)[rank] for name, value in toy_batch(BATCH).items()}
    torch.save(steps(model, algorithm, half), f'{folder}/rank_{rank}.pth')
    # DDP must not be the last to hold the process group: torch 2.11 ends that one under Python's lock, while a thread
    # of gloo that it waits for may wait for the lock
    del model
    torch.distributed.destroy_process_group()


@pytest.fixture(scope='module', params=[False, True], ids=['frozen teacher', 'trainable teacher'])
def results(request, tmp_path_factory):
    """The steps of one process, and those of each of two."""
    folder = tmp_path_factory.mktemp('processes')
    spawn(run_process, (request.param, str(folder)), PROCESSES)
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
def test_gradients_with_frozen_batch_norm(results, request):
    """To be seen with ``-s``."""
    alone, both = results

    worst = max(difference(process[0][1], alone[0][1]) for process in both)

    print(f'\n{request.node.callspec.id}: worst relative difference of a gradient: {worst:.1e}')
    assert worst < 1e-5


def difference(tensors, expected):
    """The largest difference of two dicts of tensors, as a part of the largest value of its tensor."""
    assert tensors.keys() == expected.keys()
    return max(((tensors[name] - value).abs().max() / value.abs().max()).item() for name, value in expected.items())


@pytest.mark.slow
def test_connectors_learn_until_distillation_stops(results):
    alone, _ = results
    names = [name for name in alone[0][1] if name.startswith('distiller.connectors.widen.conv_module.')]

    assert names
    assert all(alone[0][1][name].abs().sum() > 0 for name in names)
    assert all(alone[1][1][name].abs().sum() == 0 for name in names)


@pytest.fixture
def alone_in_a_group():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    yield
    gc.collect()
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('trainable_teacher', [False, True])
def test_what_is_sent_between_processes(trainable_teacher, alone_in_a_group):
    """Buffers in each forward, which is torch's default, and gradients: none of a frozen teacher."""
    algorithm = build(trainable_teacher)
    model = MMDistributedDataParallel(algorithm, broadcast_buffers=True)
    buffers = {id(buffer) for buffer in model.modules_buffers}
    weights = {id(weight) for weight in model._module_parameters}
    del model
    of_student = {id(buffer) for buffer in algorithm.student.buffers()}
    of_teacher = {id(buffer) for buffer in algorithm.teacher.buffers()}
    assert of_teacher
    assert buffers >= of_student
    assert buffers & of_teacher == (of_teacher if trainable_teacher else set())
    learning = {id(weight) for weight in algorithm.teacher.parameters()}
    assert weights & learning == (learning if trainable_teacher else set())


@MODELS.register_module()
class FrozenNormClassifier(ToyClassifier):
    """What depends on the batch or on chance is off in training too."""

    def train(self, mode=True):
        super().train(mode)
        for module in (self.bn, self.dropout):
            module.eval()
        return self


def epoch_config(folder, batch_size, **changes):
    """An epoch of eight steps with eight images each, of all processes together."""
    config = algorithm_config(architecture=dict(type='FrozenNormClassifier'))
    del config['distiller']['connectors']['widen']['norm_cfg']
    config = runner_config(folder, dict(type='kd_plugins.SingleTeacherDistill', **config), **changes)
    config['train_dataloader'] |= dict(dataset=dict(type='ToyDataset', size=64), batch_size=batch_size)
    return Config(config)


def train_an_epoch(rank, port, folder):
    become(rank, port)
    config = epoch_config(folder, BATCH // PROCESSES, launcher='pytorch')
    prepare_distributed(config)
    runner = Runner.from_cfg(config)
    runner.train()
    torch.save(snapshot(runner.model.module.student), f'{folder}/rank_{rank}.pth')
    del runner
    gc.collect()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_student_after_an_epoch_is_that_of_one_process_with_the_doubled_batch(tmp_path):
    spawn(train_an_epoch, (free_port(), str(tmp_path)), PROCESSES)
    runner = Runner.from_cfg(epoch_config(tmp_path / 'alone', BATCH))
    before = snapshot(runner.model.student)
    runner.train()
    alone = snapshot(runner.model.student)

    first, second = (torch.load(tmp_path / f'rank_{rank}.pth') for rank in range(PROCESSES))

    learned = {name: value for name, value in alone.items() if name.endswith(('weight', 'bias')) and 'bn' not in name}
    assert all(difference({'': value}, {'': before[name]}) > 1e-3 for name, value in learned.items())
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    worst = difference({name: first[name] for name in learned}, learned)
    print(f'\nworst relative difference of a weight after an epoch: {worst:.1e}')
    assert worst < 1e-5


def become(rank, port):
    """Be one of the processes of a launch."""
    addresses = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, RANK=rank, WORLD_SIZE=PROCESSES, LOCAL_RANK=rank)
    os.environ.update({name: str(value) for name, value in addresses.items()}, LOCAL_WORLD_SIZE=str(PROCESSES))


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def train_data_free(rank, port, kind, student_iter, folder):
    """A process of a data-free distillation, as MMRazor's configs describe one; writes its weights."""
    become(rank, port)
    config = Config(data_free_config(folder, kind, student_iter))
    prepare_distributed(config)
    runner = Runner.from_cfg(config)
    before = snapshot(runner.model)
    runner.train()
    wrapped = [name for name, part in runner.model.module.named_children() if is_model_wrapper(part)]
    torch.save((wrapped, before, snapshot(runner.model)), f'{folder}/rank_{rank}.pth')
    del runner
    gc.collect()
    torch.distributed.destroy_process_group()


def data_free_config(folder, kind, student_iter):
    sides = dict(
        student_recorders=dict(fc=dict(type='ModuleOutputs', source='fc')),
        teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='one.fc')),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(recorder='fc', from_student=True), preds_T=dict(recorder='fc', from_student=False)
            )
        ),
    )
    agree = dict(type='KLDivergence')
    mislead = dict(type='KLDivergence', loss_weight=-1, teacher_detach=False)
    model = dict(
        type=f'kd_plugins.{kind}',
        architecture=dict(type='ToyClassifier'),
        teachers=dict(one=dict(build_cfg=dict(type='ToyClassifier', channels=6))),
        generator=dict(type='ZSKTGenerator', img_size=8, latent_dim=3, hidden_channels=4),
        distiller=dict(type='ConfigurableDistiller', distill_losses=dict(loss_kl=agree), **sides),
        generator_distiller=dict(type='ConfigurableDistiller', distill_losses=dict(loss_kl=mislead), **sides),
    )
    if student_iter > 1:
        model['student_iter'] = student_iter
    return runner_config(
        folder,
        model,
        launcher='pytorch',
        env_cfg=dict(dist_cfg=dict(timeout=60)),
        model_wrapper_cfg=dict(
            type='mmengine.MMSeparateDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=student_iter > 1,
        ),
        optim_wrapper=dict(
            constructor='kd_plugins.SeparateOptimWrapperConstructor',
            architecture=dict(optimizer=dict(type='SGD', lr=0.1)),
            generator=dict(optimizer=dict(type='Adam', lr=0.01)),
        ),
        param_scheduler=dict(
            architecture=[dict(type='MultiStepLR', milestones=[1])], generator=dict(type='MultiStepLR', milestones=[1])
        ),
        train_cfg=dict(by_epoch=False, max_iters=2, val_interval=2),
        val_cfg=dict(type='ValLoop'),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)),
        custom_hooks=[dict(type='SyncBuffersHook')],
        # each process imagines images of its own
        randomness=dict(seed=0, diff_rank_seed=True),
    )


@pytest.fixture(
    scope='module',
    params=[('DataFreeDistillation', 1), ('DataFreeDistillation', 3), ('DAFLDataFreeDistillation', 1)],
    ids=lambda param: f'{param[0]} {param[1]}',
)
def data_free(request, tmp_path_factory):
    """The folder where two processes trained without data, and what they trained."""
    folder = tmp_path_factory.mktemp('data_free')
    spawn(train_data_free, (free_port(), *request.param, str(folder)), PROCESSES)
    return folder, request.param


@pytest.mark.slow
def test_processes_without_data_train_one_student_and_one_generator(data_free):
    folder, _ = data_free
    (wrapped, before, after), (_, _, other) = (torch.load(folder / f'rank_{rank}.pth') for rank in range(PROCESSES))

    assert wrapped == ['architecture', 'generator']
    weights = [name for name in after if name.endswith(('weight', 'bias'))]
    assert weights
    assert all(torch.equal(after[name], other[name]) for name in weights)
    for part in wrapped:
        assert any(not torch.equal(before[name], after[name]) for name in weights if part in name)


@pytest.mark.slow
def test_checkpoint_of_processes_without_data_is_that_of_one(data_free):
    folder, (kind, student_iter) = data_free

    state = torch.load(folder / 'iter_2.pth', weights_only=True)['state_dict']

    MODELS.build(data_free_config(folder, kind, student_iter)['model']).load_state_dict(state)


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


@pytest.fixture
def no_gpu(environment, monkeypatch):
    """A machine without GPUs, with no process group yet and none after the test."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in (
        *('MASTER_ADDR', 'MASTER_PORT', 'GLOO_SOCKET_IFNAME'),
        *distributed.PROCESS_VARIABLES['pytorch'],
        *distributed.LOCAL_SIZE_VARIABLES.values(),
    ):
        monkeypatch.setenv(name, 'restored after the test')
        monkeypatch.delenv(name)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_without_gpus_the_processes_meet_through_gloo(no_gpu, environment, monkeypatch, launcher):
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', '0')
    environment(launcher, 0, 1, 0)
    config = Config(
        dict(launcher=launcher, find_unused_parameters=True, env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=9)))
    )

    prepare_distributed(config)

    assert torch.distributed.get_backend() == 'gloo'
    assert torch.distributed.get_world_size() == 1
    assert config.env_cfg.dist_cfg == dict(backend='gloo', timeout=9)
    assert config.model_wrapper_cfg.device_ids is None
    assert config.model_wrapper_cfg.find_unused_parameters is True


@pytest.fixture
def started(no_gpu, monkeypatch):
    """The options of the process groups that would have been started."""
    calls = []
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda backend, **options: calls.append(options))
    return calls


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
@pytest.mark.parametrize(('local', 'users', 'interface'), [(2, None, 'lo'), (1, None, None), (2, 'eth7', 'eth7')])
def test_processes_of_one_machine_meet_on_its_loopback(
    started, environment, monkeypatch, launcher, local, users, interface
):
    monkeypatch.setattr(distributed.socket, 'if_nameindex', lambda: [(1, 'eth0'), (2, 'lo')])
    monkeypatch.setenv(distributed.LOCAL_SIZE_VARIABLES[launcher], str(local))
    if users:
        monkeypatch.setenv('GLOO_SOCKET_IFNAME', users)
    environment(launcher, 0, 2, 0)

    prepare_distributed(Config(dict(launcher=launcher)))

    assert len(started) == 1
    assert os.environ.get('GLOO_SOCKET_IFNAME') == interface


@pytest.mark.parametrize(('timeout', 'expected'), [(None, None), (90, timedelta(seconds=90)), (0.5, timedelta(0, 0.5))])
def test_timeout_of_the_config_holds_without_gpus(started, environment, timeout, expected):
    environment('pytorch', 0, 1, 0)

    prepare_distributed(Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(timeout=timeout)))))

    assert started == [dict(timeout=expected)]


@pytest.mark.parametrize('timeout', [0, -1, '30', float('inf')])
def test_timeout_that_is_no_number_of_seconds(started, environment, timeout):
    environment('pytorch', 0, 1, 0)

    with pytest.raises(UserError, match=r'env_cfg\.dist_cfg\.timeout: expected a finite number above 0'):
        prepare_distributed(Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(timeout=timeout)))))
    assert not started


@pytest.mark.parametrize('kind', ['torch', 'mmcv'])
def test_sync_bn_is_refused_without_gpus(started, environment, kind):
    environment('pytorch', 0, 1, 0)

    with pytest.raises(UserError, match=r"sync_bn: .*torch synchronises on GPUs alone, got '(torch|mmcv)'.*remove it"):
        prepare_distributed(Config(dict(launcher='pytorch', sync_bn=kind)))
    assert not started


def test_sync_bn_is_left_to_mmengine_on_gpus(environment, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    environment('pytorch', 0, 1, 0)
    config = Config(dict(launcher='pytorch', sync_bn='torch'))

    prepare_distributed(config)

    assert config.to_dict() == dict(launcher='pytorch', sync_bn='torch')


@pytest.mark.parametrize(('launcher', 'name'), distributed.RESTART_VARIABLES.items())
@pytest.mark.parametrize(('count', 'expected'), [(None, False), ('', False), ('0', False), ('1', True), ('12', True)])
def test_process_knows_that_it_was_restarted(monkeypatch, launcher, name, count, expected):
    monkeypatch.delenv(name, raising=False)
    if count is not None:
        monkeypatch.setenv(name, count)

    assert was_restarted(launcher) is expected
    assert not was_restarted('none')


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


def test_a_command_leaves_the_processes(tmp_path):
    seen = []

    @command
    def main():
        torch.distributed.init_process_group('gloo', f'file://{tmp_path}/meeting', rank=0, world_size=1)
        seen.append(torch.distributed.is_initialized())

    assert main() == 0
    assert seen == [True]
    assert not torch.distributed.is_initialized()
