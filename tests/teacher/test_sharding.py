"""A frozen teacher whose weights two processes share: the losses of a whole one, with half of the weights each."""

import pytest
import torch
import torch.distributed
from mmengine.registry import MODELS
from processes import spawn
from torch import nn
from toy import algorithm_config, distiller_config, toy_batch

from kd_plugins.engine.distributed import use_loopback
from kd_plugins.errors import UserError, drafting
from kd_plugins.teacher import TeacherForward
from kd_plugins.teacher.cache import teacher_fingerprint
from kd_plugins.teacher.sharding import blocks

PROCESSES = 2
PLAINLY = dict(fold_bn=False, inplace=False, channels_last=False, stop_early=False)


def build(**teacher_forward):
    torch.manual_seed(0)
    config = algorithm_config(teacher_forward=teacher_forward)
    return MODELS.build(dict(type='kd_plugins.SingleTeacherDistill', **config))


def build_two(**teacher_forward):
    """Two teachers, against one of which the student is compared."""
    torch.manual_seed(0)
    config = algorithm_config(teacher_forward=teacher_forward, distiller=distiller_config())
    for recorder in config['distiller']['teacher_recorders'].values():
        recorder['source'] = f'one.{recorder["source"]}'
    teachers = {name: dict(build_cfg=config['teacher']) for name in ('one', 'other')}
    del config['teacher']
    return MODELS.build(dict(type='kd_plugins.MultiTeacherDistill', teachers=teachers, **config))


def losses_of(algorithm):
    """The distill losses of two steps; nothing but the teacher differs between the runs."""
    return [{name: loss.item() for name, loss in algorithm(**toy_batch(8), mode='loss').items()} for _ in range(2)]


def observe(builder):
    """What is seen of a sharded teacher from outside."""
    whole = builder(**PLAINLY)
    expected, fingerprint = losses_of(whole.eval()), teacher_fingerprint(whole)
    algorithm = builder(shard=True).eval()
    algorithm.to('cpu')
    losses = losses_of(algorithm)
    teacher = algorithm.frozen_teacher
    weights = list(teacher.model.parameters())
    with torch.no_grad():
        plain = torch.equal(first(teacher.model), first(whole.frozen_teacher.model))
    names = [[name for name, _ in held.teacher.named_parameters()] for held in (algorithm, whole)]
    return dict(
        expected=expected,
        losses=losses,
        held=sum(weight.to_local().numel() for weight in weights),
        total=sum(weight.numel() for weight in weights),
        same=[plain, names[0] == names[1], teacher_fingerprint(algorithm) == fingerprint],
        refusal=teacher.load({}),
        in_checkpoint=[name for name in algorithm.state_dict() if 'teacher' in name],
    )


def first(model):
    """What a model, or the first of several, says to a batch."""
    outputs = model(toy_batch(8)['inputs'], mode='tensor')
    return next(iter(outputs.values())) if isinstance(outputs, dict) else outputs


def run_process(rank, folder):
    use_loopback()
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=PROCESSES
    )
    torch.save([observe(build), observe(build_two)], f'{folder}/rank_{rank}.pth')
    with drafting():
        assert not build(shard=True).frozen_teacher.sharded
    torch.distributed.destroy_process_group()


@pytest.fixture(scope='module')
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sharded')
    spawn(run_process, (str(folder),), PROCESSES)
    return [torch.load(folder / f'rank_{rank}.pth') for rank in range(PROCESSES)]


@pytest.mark.slow
@pytest.mark.parametrize('index', [0, 1], ids=['one teacher', 'two teachers'])
def test_losses_are_those_of_a_whole_teacher(seen, index):
    for process in seen:
        for loss, expected in zip(process[index]['losses'], process[index]['expected'], strict=True):
            assert loss.keys() == expected.keys()
            assert any(name.startswith('distill.') for name in loss)
            assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('index', [0, 1], ids=['one teacher', 'two teachers'])
def test_each_process_holds_its_share(seen, index):
    held = [process[index]['held'] for process in seen]
    (total,) = {process[index]['total'] for process in seen}

    assert sum(held) == total
    assert max(held) < 0.6 * total
    print(f'of {total} weights the processes hold {held}')


@pytest.mark.slow
@pytest.mark.parametrize('index', [0, 1], ids=['one teacher', 'two teachers'])
def test_sharding_changes_nothing_else(seen, index):
    for process in seen:
        assert process[index]['same'] == [True] * 3
        assert not process[index]['in_checkpoint']
        assert 'takes no weights' in process[index]['refusal']


def test_alone_a_teacher_stays_whole_and_where_it_is():
    algorithm = build(shard=True).eval()

    assert not algorithm.frozen_teacher.sharded
    assert losses_of(algorithm) == losses_of(build(**PLAINLY).eval())
    algorithm.to('meta')
    assert {weight.device.type for weight in algorithm.student.parameters()} == {'meta'}
    assert {weight.device.type for weight in algorithm.teacher.parameters()} == {'cpu'}


@pytest.mark.parametrize('other', [dict(compile=True), dict(inference_mode=True), dict(compile=dict(mode='default'))])
def test_a_sharded_teacher_runs_as_it_is_built(other):
    with pytest.raises(UserError, match=rf'teacher_forward\.shard: .*remove {next(iter(other))}'):
        TeacherForward.read(dict(shard=True, **other))


class Block(nn.Module):
    """Two layers, one of them in a list."""

    def __init__(self, features):
        super().__init__()
        self.first = nn.Linear(features, features)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(features, features))


def test_blocks_hold_layers_and_are_small():
    layers = nn.ModuleList(Block(8) for _ in range(8))
    large = Block(32)
    model = nn.ModuleDict(dict(layers=layers, large=large, attention=nn.MultiheadAttention(16, 1)))

    assert list(blocks(model)) == [*layers, large.first, large.rest[1], model['attention']]


def test_what_only_holds_blocks_is_none():
    stage = nn.Module()
    stage.blocks, stage.downsample = nn.ModuleList([Block(2), Block(2)]), Block(2)
    model = nn.ModuleList([stage, Block(32)])

    assert list(blocks(model))[:3] == [*stage.blocks, stage.downsample]


def test_weights_of_two_modules_stay_together():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    model[2].weight = model[0].weight

    assert list(blocks(model)) == [model[1]]
