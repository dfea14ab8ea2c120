"""Every shipped config builds and trains a step, and says at its top what it is for."""

import inspect
import math
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.utils import get_installed_path
from shipped import CLASSIFIERS, CONFIGS, DENSE

from kd_plugins.build import find_component
from kd_plugins.distiller import DISTILLERS
from kd_plugins.distiller.reading import read_config
from kd_plugins.engine import DistillScheduleHook
from kd_plugins.engine.config import load_config
from kd_plugins.preflight import build_from_config
from kd_plugins.preflight.parts import part_faults
from kd_plugins.preflight.probe import probe_batch, probe_batches
from kd_plugins.preflight.types import type_faults
from kd_plugins.preflight.unused_keys import unused_key_warnings
from kd_plugins.registry import MODELS, TASK_UTILS

# gigabytes of weights, or seconds of building them
SLOW = ('deit',)


def marked(path):
    """The path, slow where its models are large."""
    return pytest.param(path, marks=pytest.mark.slow if path.parent.name in SLOW else ())


def leave_out_checkpoints(model):
    """Let no part of a model's config ask for weights or a teacher cache that are not here."""
    for key, value in model.items():
        if key in ('teacher_ckpt', 'ckpt_path', 'teacher_cache'):
            model[key] = None
        elif key == 'pretrained':
            model[key] = False
        elif key == 'init_cfg' and isinstance(value, dict) and value.get('type') == 'Pretrained':
            model[key] = None
        elif isinstance(value, dict):
            leave_out_checkpoints(value)


def test_none_is_missing():
    names = {path.relative_to(CONFIGS).as_posix() for path in CLASSIFIERS}
    assert names >= {
        'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py',
        'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb16_cifar10.py',
        'kd/kd_logits_resnet34_resnet18_8xb32_in1k.py',
        'kd/kd_logits_resnet34_resnet18_8xb16_cifar10.py',
        'quickstart/fitnets_resnet50_resnet18_digits.py',
        'quickstart/kd_vgg_cnn_digits.py',
    }


@pytest.mark.parametrize('path', [marked(path) for path in CLASSIFIERS], ids=lambda path: path.stem)
def test_builds_and_trains_a_step(path):
    config = load_config(path)
    assert [fault for part in ('train', 'val', 'test') for fault in part_faults(config, part)] == []
    assert type_faults(config, config.default_scope) == []
    leave_out_checkpoints(config.model)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        model = build_from_config(config).train()
        assert unused_key_warnings(config, model) == []
        # the digits are at hand, and smaller than what the preflight makes up
        batches = [batch.data for batch in probe_batches(config)] if 'digits' in path.stem else [probe_batch(config)]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.01)
    before = [parameter.detach().clone() for parameter in trained]

    with ExitStack() as guards:
        recorders = [getattr(model, name) for name in DISTILLERS if hasattr(model, name)]
        recorders = [part for it in recorders for part in (it.student_recorders, it.teacher_recorders)]
        overwritten = [guards.enter_context(part.guarding()) for part in recorders]
        loss, log = model.parse_losses(model(**model.data_preprocessor(batches[-1], True), mode='loss'))
    assert not any(is_overwritten() for is_overwritten in overwritten)
    loss.backward()
    optimiser.step()

    assert torch.isfinite(loss)
    assert all(torch.isfinite(value).all() for value in log.values())
    assert sum(parameter.grad is not None for parameter in trained) > 0.9 * len(trained) > 0
    # a non-local block of FBKD begins as identity: most of it gets a gradient of zero at first
    moved = [not torch.equal(new, old) for new, old in zip(trained, before, strict=True)]
    assert sum(moved) > 0.5 * len(moved)


@pytest.mark.parametrize('path', CLASSIFIERS + DENSE, ids=lambda path: path.stem)
def test_says_what_it_is_for(path):
    lines = path.read_text().splitlines()
    header = '\n'.join(lines[: next(index for index, line in enumerate(lines) if not line.startswith('#'))])
    for part in ('Needs:', 'Launch:', 'Result:', path.relative_to(CONFIGS.parent).as_posix()):
        assert part in header


MMRAZOR = Path(get_installed_path('mmrazor')) / '.mim' / 'configs' / 'distill' / 'mmcls'
# mmrazor's data set of CRD is no training of its own
THEIRS = sorted(path for path in MMRAZOR.rglob('*.py') if path.parent.name != 'datasets')


def test_each_of_mmrazors_is_here_under_its_name():
    assert len(THEIRS) == 19
    assert [path.name for path in THEIRS if not (CONFIGS / path.parent.name / path.name).is_file()] == []


@pytest.mark.parametrize('path', THEIRS, ids=lambda path: path.stem)
def test_says_the_same_as_mmrazors(path):
    """Algorithm, losses with their weights, sources and calls, connectors: what differs is written here."""
    ours = load_config(CONFIGS / path.parent.name / f'{VARIANTS.get(path.stem, path.stem)}.py').model
    theirs = load_config(path).model
    assert ours.type == theirs.type
    for key in ('student_iter', 'student_train_first', 'student_trainable', 'calculate_student_loss'):
        assert ours.get(key) == theirs.get(key) or (key, theirs.get(key)) in DEFAULTS, key
    assert Path(ours.get('teacher_ckpt') or '').name.endswith(Path(theirs.get('teacher_ckpt') or '').name)
    for key in ('distiller', 'generator_distiller') if path.stem not in ELSEWISE else ():
        assert said(ours.get(key)) == said(theirs.get(key))


# where the config of MMRazor's name has the authors' constants, and another one MMRazor's
VARIANTS = {'dkd_resnet34_resnet18_8xb32_in1k': 'dkd-sum_resnet34_resnet18_8xb32_in1k'}
ELSEWISE = {
    'byot_resnet18_8xb16_cifar100': "a stage's output, where MMRazor takes the first call of its ReLU",
    'crd_neck_r50_r18_8xb16_cifar10': 'the weight 0.8 of its file, which MMRazor ignores',
    'fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k': 'a stage by its own name, not by the last call of its ReLU',
}


def test_dkd_has_the_weights_of_its_authors():
    names = [name for pair in VARIANTS.items() for name in pair]
    authors, mmrazors = (load_config(CONFIGS / 'dkd' / f'{name}.py') for name in names)
    loss, summed = (config.model.distiller.distill_losses.loss_dkd for config in (authors, mmrazors))
    assert [loss[key] for key in ('tau', 'alpha', 'beta', 'loss_weight', 'reduction')] == [1, 1, 0.5, 1, 'batchmean']
    assert {key for key in loss if loss[key] != summed[key]} == {'reduction'}
    # 32 images a process: the factor that both headers tell
    images = authors.train_dataloader.batch_size
    arguments = [*torch.randn(2, images, 10), torch.arange(images) % 10]
    values = [
        MODELS.build({key: value for key, value in part.items() if key not in ('student', 'teacher')})(*arguments)
        for part in (loss, summed)
    ]
    torch.testing.assert_close(values[1], 32 * values[0])
    (hook,) = authors.custom_hooks
    (stage,) = DistillScheduleHook(**{key: value for key, value in hook.items() if key != 'type'}).stages
    epoch = math.ceil(1281167 / (8 * images))
    assert [stage.factor('loss_dkd', now) for now in (0, epoch, 100 * epoch)] == [0, 1, 1]
    assert 0.499 < stage.factor('loss_dkd', epoch // 2) < 0.501
    assert not mmrazors.custom_hooks


CHANNELS = ('in_channel', 'out_channel', 'dim_in', 'dim_out')
DEFAULTS = [('student_trainable', True), ('calculate_student_loss', True)]


def said(distiller):
    """What a distiller compares: by loss its config, and by argument what is recorded and sent through what."""
    if distiller is None:
        return None
    config = {key: value for key, value in distiller.items() if key != 'type'}
    spec, faults = read_config(
        *(
            config.get(key)
            for key in (
                'student_recorders',
                'teacher_recorders',
                'connectors',
                'distill_losses',
                'loss_forward_mappings',
                'distill_deliveries',
            )
        )
    )
    assert not faults
    recorders = {True: spec.student_recorders, False: spec.teacher_recorders}
    return {
        mapping.name: (
            in_full(spec.losses[mapping.name].config),
            {
                argument: (
                    in_full(recorders[record.from_student][record.recorder].config, TASK_UTILS),
                    record.record_idx or 0,
                    record.data_idx,
                    in_full(spec.connectors[record.connector].config) if record.connector else None,
                    record.connector_idx,
                )
                for argument, record in mapping.arguments.items()
            },
        )
        for mapping in spec.mappings
    }


def in_full(config, registry=MODELS):
    """A component's class, and all its arguments but channels, which our configs may leave to the preflight."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        component = find_component(registry, config, '')
    parameters = inspect.signature(component).parameters.values()
    defaults = {
        parameter.name: parameter.default for parameter in parameters if parameter.default is not inspect._empty
    }
    arguments = {key: value for key, value in {**defaults, **config}.items() if key not in ('type', *CHANNELS)}
    return component, arguments
