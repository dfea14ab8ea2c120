"""The flagship config against mmrazor 1.0.0: its first step, and the size of its checkpoints."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from flagship import LONG_FORM
from mmengine.config import Config
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from torch.nn.modules.batchnorm import _BatchNorm

pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
from mmrazor.registry import MODELS as MMRAZOR_MODELS

import kd_plugins.compat.mmrazor  # noqa: F401

FLAGSHIP = Path(__file__).parents[2] / 'configs/fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py'
MMRAZORS_FLAGSHIP = 'configs/distill/mmcls/fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py'
PRECISIONS = [(torch.float64, 1e-6), (torch.float32, 1e-5)]
SHAPES = [(3, 5), (2, 4, 3, 3)]
BN = dict(type='BN')


def relative(ours, theirs):
    """Distance of two tensors relative to the length of the oracle's."""
    ours, theirs = ours.double(), theirs.double()
    scale, distance = theirs.norm().item(), (ours - theirs).norm().item()
    return distance / scale if scale else distance


def mmrazors_flagship():
    """The model of MMRazor's own config, without pretrained weights, which are not here."""
    import mmrazor

    # only the dict of the model is wanted: the rest of the config asks for the package mmcls
    text = Path(mmrazor.__file__).with_name('.mim').joinpath(MMRAZORS_FLAGSHIP).read_text()
    text = text.replace('mmcls::', 'mmpretrain::')
    model = Config.fromstring(text[text.index('teacher_ckpt =') : text.index('val_cfg =')], '.py').model
    model.teacher_ckpt = None
    model.teacher.pretrained = False
    return model


def our_flagship(**changes):
    """The same long form as we train it, with the preprocessing of the data's config."""
    model = copy.deepcopy(LONG_FORM)
    model['teacher']['pretrained'] = False
    preprocessor = Config.fromfile(FLAGSHIP).data_preprocessor
    return {**model, 'type': 'kd_plugins.SingleTeacherDistill', 'data_preprocessor': preprocessor, **changes}


@pytest.fixture(scope='module')
def flagships():
    """Ours by dtype, and mmrazor's, with the same weights.

    A batch of two images makes BatchNorms that magnify rounding a thousandfold: in float32, ours runs in mmrazor's
    memory layout, and float64 shows that the default one changes nothing else.
    """
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        ours = MMENGINE_MODELS.build(our_flagship())
        mmrazors_layout = dict(channels_last=False, teacher_forward=dict(channels_last=False))
        same_layout = MMENGINE_MODELS.build(our_flagship(**mmrazors_layout))
        theirs = MMRAZOR_MODELS.build(mmrazors_flagship())
    assert type(ours).__module__.startswith('kd_plugins')
    assert type(theirs).__module__.startswith('mmrazor')
    for module in ours.teacher.modules():
        if isinstance(module, _BatchNorm):  # as after training: not the 0 and 1 of a fresh one
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    # logits of a trained size: between nearly equal ones the divergence is a difference of equal numbers, of which
    # float32 holds four digits in either implementation
    ours.teacher.head.fc.weight.data.mul_(20)
    theirs.architecture.load_state_dict(ours.architecture.state_dict(), strict=True)
    theirs.teacher.load_state_dict(ours.teacher.state_dict(), strict=True)
    theirs.distiller.load_state_dict(ours.distiller.state_dict(), strict=True)
    same_layout.load_state_dict(ours.state_dict(), strict=True)
    same_layout.teacher.load_state_dict(ours.teacher.state_dict(), strict=True)
    for algorithm in (ours, same_layout, theirs):
        algorithm.train()  # mmrazor's returns None
    return {torch.float64: ours, torch.float32: same_layout}, theirs


def batch():
    from mmpretrain.structures import DataSample

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 128, 128), generator=generator, dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=[DataSample().set_gt_label(label) for label in (3, 141)])


@pytest.mark.slow
@pytest.mark.parametrize('precision', PRECISIONS, ids=str)
def test_first_step_of_the_flagship(flagships, precision):
    dtype, tolerance = precision
    results = []
    flagships = flagships[0][dtype], flagships[1]
    # the running statistics, which the other precision's step has moved
    flagships[1].architecture.load_state_dict(flagships[0].architecture.state_dict())
    flagships[1].distiller.load_state_dict(flagships[0].distiller.state_dict())
    for algorithm in flagships:
        algorithm.to(dtype).zero_grad()
        data = algorithm.data_preprocessor(batch(), True)
        losses = algorithm(data['inputs'].to(dtype), data['data_samples'], mode='loss')
        total, _ = algorithm.parse_losses(losses)
        total.backward()
        results.append((losses, total))
    (ours, our_total), (theirs, their_total) = results
    assert ours.keys() == theirs.keys()
    assert set(ours) == {'student.loss', 'distill.loss_s4', 'distill.loss_s3', 'distill.loss_kl'}
    for name, value in theirs.items():
        assert value > 0
        assert value.dtype == ours[name].dtype == dtype
        assert ours[name].item() == pytest.approx(value.item(), rel=tolerance), name
    assert our_total.item() == pytest.approx(their_total.item(), rel=tolerance)

    for part in ('architecture', 'distiller'):
        mine = dict(getattr(flagships[0], part).named_parameters())
        oracle = dict(getattr(flagships[1], part).named_parameters())
        assert mine.keys() == oracle.keys()
        for name, parameter in oracle.items():
            assert relative(mine[name].grad, parameter.grad) < 10 * tolerance, name
        whole = [torch.cat([side[name].grad.flatten() for name in oracle]) for side in (mine, oracle)]
        assert relative(*whole) < tolerance
    # running statistics moved alike too
    for name, tensor in flagships[1].architecture.state_dict().items():
        assert relative(flagships[0].architecture.state_dict()[name], tensor) < tolerance, name
    assert all(parameter.grad is None for parameter in flagships[0].teacher.parameters())


def checkpoint_size(runner, epochs):
    """Size in bytes of a checkpoint after so many epochs of ImageNet, whose log history is filled in."""
    iterations = 5005 * epochs  # 1,281,167 images in batches of 8 x 32
    for name, history in runner.message_hub.log_scalars.items():
        if name.startswith('train/') and iterations:
            history._log_history = np.resize(history._log_history, iterations)
            history._count_history = np.resize(history._count_history, iterations)
    runner.train_loop._iter = 999  # hooks of every thousandth iteration
    runner.call_hook('after_train_iter', batch_idx=0, outputs={})
    for history in runner.message_hub.log_scalars.values():
        history.update(1.0)
    runner.save_checkpoint(runner.work_dir, 'measured.pth', by_epoch=False)
    path = Path(runner.work_dir, 'measured.pth')
    state = torch.load(path, weights_only=True)['state_dict']
    size = path.stat().st_size
    path.unlink()
    return size, {name.split('.')[0] for name in state}


@pytest.mark.slow
def test_size_of_a_checkpoint(flagships, tmp_path):
    from mmengine.dataset import pseudo_collate
    from mmengine.runner import Runner

    epochs = (0, 3, 100)
    sizes = []
    for name, algorithm in zip(('ours', 'theirs'), (flagships[0][torch.float32], flagships[1]), strict=True):
        samples = batch()
        runner = Runner(
            model=copy.copy(algorithm),
            work_dir=str(tmp_path / name),
            train_dataloader=dict(
                dataset=[
                    dict(inputs=image, data_samples=sample)
                    for image, sample in zip(samples['inputs'], samples['data_samples'], strict=True)
                ],
                sampler=dict(type='InfiniteSampler', shuffle=False),
                collate_fn=pseudo_collate,
                batch_size=2,
                num_workers=0,
            ),
            train_cfg=dict(by_epoch=False, max_iters=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)),
            default_hooks=dict(checkpoint=None, logger=None),
            # as tools/train.py has it
            custom_hooks=[dict(type='kd_plugins.LogHistoryHook')] if name == 'ours' else [],
            experiment_name=f'parity_{name}_{tmp_path.name}',
            log_level='WARNING',
        )
        runner.train()
        measured = [checkpoint_size(runner, number) for number in epochs]
        assert all(('teacher' in parts) == (name == 'theirs') for _, parts in measured)
        sizes.append([size for size, _ in measured])
    ratios = [ours / theirs for ours, theirs in zip(*sizes, strict=True)]
    print('checkpoint sizes in bytes, ours and theirs, after', epochs, 'epochs:', sizes, 'ratios:', ratios)
    # student, connectors and their momentum are 104.1 MB on both sides, the teacher 102.4 MB, and every iteration adds
    # 16 bytes a scalar to a history that is bounded on our side
    assert ratios[0] < 0.51
    assert ratios[1] < 0.5
    assert ratios[2] < 0.4
