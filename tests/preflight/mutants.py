"""Good configs of three kinds, and what mutations make of them: native ones, MMRazor's, and pure-Python ones."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from mmengine.config import Config, ConfigDict
from mmengine.config.utils import RemoveAssignFromAST

from kd_plugins.compat.catalogue import mmcls_folder
from kd_plugins.compat.reading import names_of_today
from kd_plugins.config_file import read_config_file
from kd_plugins.config_text import assign
from kd_plugins.engine.config import load_config

CONFIGS = Path(__file__).parents[2] / 'configs'
# what a value becomes that is retyped
OTHER_VALUES = (None, True, -1, 0, 3, 0.5, '', 'auto', 'head.fc', 'L2Loss', [], [1, 2], {}, {'type': 'L2Loss'})
# folders and processes are not what is tested here
SPARED = ('work_dir', 'launcher', 'log_level', 'env_cfg', 'num_workers')
# MMRazor's that train a step here, for their models can be made small
TRAINED = (
    'abloss/abloss_logits_resnet50_resnet18_8xb32_in1k.py',
    'abloss/abloss_pretrain_backbone_resnet50_resnet18_8xb32_in1k.py',
    'byot/byot_resnet18_8xb16_cifar100.py',
    'dafl/dafl_logits_resnet34_resnet18_8xb256_cifar10.py',
    'dist/dist_logits_resnet34_resnet18_8xb32_in1k.py',
    'dkd/dkd_resnet34_resnet18_8xb32_in1k.py',
    'factor_transfer/factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_train.py',
    'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py',
    'kd/kd_logits_resnet34_resnet18_8xb32_in1k.py',
    'rkd/rkd_neck_resnet34_resnet18_8xb32_in1k.py',
    'wsld/wsld_logits_resnet34_resnet18_8xb32_in1k.py',
    'zskt/zskt_backbone_logits_resnet34_resnet18_8xb16_cifar10.py',
)
TRAINED_PURE = tuple(name for name in TRAINED if name.startswith(('abloss', 'dkd', 'fitnets', 'kd', 'rkd')))
NARROWER = 8
# where a pure-Python config imports classes from
OURS = {
    'SingleTeacherDistill': 'kd_plugins.algorithms',
    'ConfigurableDistiller': 'kd_plugins.distiller',
    'ConvModuleConnector': 'kd_plugins.connectors',
    'L2Loss': 'kd_plugins.losses',
    'KLDivergence': 'kd_plugins.losses',
    'ModuleOutputsRecorder': 'kd_plugins.recorders',
    'Digits': 'kd_plugins.datasets',
    'ImageClassifier': 'mmpretrain.models',
    'PackInputs': 'mmpretrain.datasets',
    'DefaultSampler': 'mmengine.dataset',
    'SGD': 'torch.optim',
}
THEIRS = {
    'SingleTeacherDistill': 'mmrazor.models.algorithms',
    'ConfigurableDistiller': 'mmrazor.models.distillers',
    'ConvModuleConnector': 'mmrazor.models.architectures.connectors',
    'ModuleOutputsRecorder': 'mmrazor.models.task_modules',
    **dict.fromkeys(
        ('ABLoss', 'AngleWiseRKD', 'DKDLoss', 'DistanceWiseRKD', 'KLDivergence', 'L2Loss'), 'mmrazor.models.losses'
    ),
    'SGD': 'torch.optim',
}
CHANNELS = ('in_channel', 'out_channel', 'in_channels', 'out_channels', 'hidden_channels')


@dataclass(frozen=True)
class Imported:
    """A class that a pure-Python config imports; written down, it is the name that it is imported under."""

    module: str
    name: str

    def __repr__(self) -> str:
        return f'{self.name or "Nameless"}_of_{self.module.replace(".", "_")}'

    def statement(self) -> str:
        return f'from {self.module} import {self.name} as {self!r}'


@dataclass(frozen=True)
class Mutant:
    """A config after mutations.

    Attributes:
        name: Of the config that it was.
        done: What was done to it.
        settings: By name.
    """

    name: str
    done: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def trains(self) -> bool:
        """Whether a step of it is cheap here: of MMRazor's, of those that were made small."""
        library, _, below = self.name.partition('/')
        return library not in ('mmcls', 'mmdet', 'mmseg') or below in TRAINED

    def write(self, path: Path) -> None:
        """Write it as a config file."""
        imported = sorted({found.statement() for found in imports(self.settings)})
        path.write_text('\n'.join([*imported, *(assign(key, value) for key, value in self.settings.items()), '']))


def native() -> dict[str, dict[str, Any]]:
    """Configs that train: the long form, the short form with a connector written out, and one with 'auto'."""
    long = load_config(CONFIGS / 'quickstart' / 'kd_vgg_cnn_digits.py').to_dict()
    fc = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
    long['model']['distiller'] = dict(
        type='ConfigurableDistiller',
        student_recorders=copy.deepcopy(fc),
        teacher_recorders=fc,
        distill_losses=dict(loss_kl=dict(type='KLDivergence', tau=4)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(recorder='fc', from_student=True), preds_T=dict(recorder='fc', from_student=False)
            )
        ),
    )
    long['model'].pop('teacher_ckpt')
    long.pop('teacher_ckpt', None)
    long['train_dataloader'].update(batch_size=4)
    long['train_dataloader']['dataset']['num_images'] = 20
    hint = dict(type='L2Loss', loss_weight=2, student='backbone.stages.1', teacher='backbone.stages.1')
    short = copy.deepcopy(long)
    connector = dict(type='ConvModuleConnector', in_channel=64, out_channel=128, norm_cfg=dict(type='BN'))
    logits = dict(type='KLDivergence', tau=4, student='head.fc', teacher=dict(source='head.fc', record_idx=0))
    short['model']['distiller'] = dict(
        type='ConfigurableDistiller', distill_losses=dict(loss_hint={**hint, 'connector': connector}, loss_kl=logits)
    )
    auto = copy.deepcopy(short)
    auto['model']['distiller']['distill_losses']['loss_hint']['connector'] = 'auto'
    mixed = copy.deepcopy(long)
    mixed['model']['distiller']['connectors'] = dict(widen=dict(type='ConvModuleConnector', act_cfg=None))
    mixed['model']['distiller']['distill_losses']['loss_hint'] = {**hint, 'connector': 'widen'}
    return {'long': long, 'short': short, 'auto': auto, 'mixed': mixed}


def of_mmrazor() -> dict[str, dict[str, Any]]:
    """MMRazor's 31 configs as the wheel has them; those of ``TRAINED`` over small images and with narrow models.

    What a config for detectors or segmentors inherits from is left out: it lies in libraries that need operators, and
    those are asked for once the config has been read and translated.
    """
    folder = mmcls_folder().parent
    found = {}
    for path in sorted(folder.rglob('*.py')):
        name = path.relative_to(folder).as_posix()
        library, _, below = name.partition('/')
        if library in ('mmdet', 'mmseg'):
            found[name] = own_settings(path)
        elif library == 'mmcls' and path.parent.name != 'datasets':
            with names_of_today():
                settings = read_config_file(path, import_custom_modules=False).to_dict()
            found[name] = made_small(settings) if below in TRAINED else settings
    return found


def pure_python() -> dict[str, dict[str, Any]]:
    """Native configs and MMRazor's whose types are classes that they import."""
    theirs = of_mmrazor()
    found = {f'pure {name}': with_classes(settings, OURS) for name, settings in native().items()}
    for name in TRAINED_PURE:
        settings = with_classes(theirs[f'mmcls/{name}'], THEIRS)
        settings['model'].pop('_scope_')
        found[f'pure {name}'] = settings
    return found


def with_classes(node: Any, homes: dict[str, str]) -> Any:
    """A part of a config with classes for the types that have a home."""
    if isinstance(node, (list, tuple)):
        return type(node)(with_classes(child, homes) for child in node)
    if not isinstance(node, dict):
        return node
    changed = {key: with_classes(child, homes) for key, child in node.items()}
    kind = node.get('type')
    bare = kind.rpartition('.')[2] if isinstance(kind, str) else ''
    name = f'{bare}Recorder' if bare.startswith('Module') else bare
    if name in homes:
        changed['type'] = Imported(homes[name], name)
    return changed


def own_settings(path: Path) -> dict[str, Any]:
    """What a config file says itself, without what it inherits from."""
    code = RemoveAssignFromAST('_base_').visit(ast.parse(path.read_text()))
    base = ConfigDict(model=dict(type='RetinaNet', neck=dict(type='FPN'), bbox_head=dict(type='RetinaHead')))
    settings: dict[str, Any] = {'_base_': base}
    exec(compile(code, str(path), 'exec'), settings)
    own = Config({key: value for key, value in settings.items() if not key.startswith('_')}).to_dict()
    beside = [path.parent / base for base in Config._get_base_files(str(path)) if '::' not in base]
    # the visualisation of CWD: another config of the folder, with a hook
    return {**(own_settings(beside[0]) if beside and 'model' not in own else {}), **without_deletions(own)}


def without_deletions(node: Any) -> Any:
    """A config without ``_delete_``, where what it would delete is not inherited."""
    if isinstance(node, dict):
        return {key: without_deletions(child) for key, child in node.items() if key != '_delete_'}
    return type(node)(map(without_deletions, node)) if type(node) in (list, tuple) else node


def made_small(settings: dict[str, Any]) -> dict[str, Any]:
    """A config over the digits, without weights from elsewhere and with an eighth of the channels."""
    pack, enlarge = dict(type='PackClsInputs'), dict(type='Resize', scale=(32, 32))
    # what BYOT's connectors pool is left of larger images alone
    pipeline = [enlarge, pack] if settings['model']['type'] == 'SelfDistill' else [pack]
    dataset = dict(type='kd_plugins.Digits', num_images=20, pipeline=pipeline)
    sampler = dict(type='DefaultSampler', shuffle=True)
    loader = dict(batch_size=4, num_workers=0, dataset=dataset, sampler=sampler)
    model = settings['model']
    narrow(model)
    if settings['model']['type'] == 'SelfDistill':
        model['architecture']['backbone']['base_channels'] = 8
    for node in [model['architecture'], model.get('teacher'), *model.get('teachers', {}).values()]:
        node = (node or {}).get('build_cfg', node)
        if node and 'cfg_path' in node:
            channels = 64 if 'resnet50' not in node['cfg_path'] else 256
            narrower = dict(backbone=dict(stem_channels=8, base_channels=8))
            node.update(narrower, head=dict(num_classes=10, in_channels=channels), pretrained=False)
    kept = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'default_scope', 'default_hooks', 'randomness')
    return {**{key: settings[key] for key in kept if key in settings}, 'train_dataloader': loader}


def narrow(node: Any) -> None:
    """Divide what a model's config says of channels, and leave out weights."""
    if not isinstance(node, dict):
        return
    for key in ('teacher_ckpt', 'ckpt_path', 'init_cfg'):
        node.pop(key, None)
    for key, child in node.items():
        narrow(child)
        if key in CHANNELS and isinstance(child, int) and child >= 64:
            node[key] = child // NARROWER
    if 'num_classes' in node or node.get('type') == 'WSLD':
        node['num_classes'] = 10


def imports(node: Any) -> list[Imported]:
    if isinstance(node, Imported):
        return [node]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    return [found for child in children for found in imports(child)]


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key path of a config, those of containers too."""
    if isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, (list, tuple)):
        children = list(enumerate(node))
    else:
        children = []
    found = []
    for key, child in children:
        found += [(*path, key), *places(child, (*path, key))]
    return found


def below(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


def without_a_letter(draw: st.DrawFn, text: str) -> str:
    at = draw(st.integers(0, max(len(text) - 1, 0)))
    return f'{text[:at]}{text[at + 1 :]}'


@st.composite
def mutants(draw: st.DrawFn, configs: dict[str, dict[str, Any]]) -> Mutant:
    """One of some good configs after one or two mutations, with a description of each."""
    name = draw(st.sampled_from(sorted(configs)))
    config = copy.deepcopy(configs[name])
    done = []
    for _ in range(draw(st.integers(1, 2))):
        inside = draw(st.sampled_from(['model', 'model', 'model', '']))
        paths = [
            path
            for path in places(config)
            if not {path[0], path[-1]} & set(SPARED) and (not inside or path[0] == inside) and len(path) > 1
            and isinstance(below(config, path[:-1]), dict)
        ]  # fmt: skip
        if not paths:
            continue
        path = draw(st.sampled_from(paths))
        parent, key = below(config, path[:-1]), path[-1]
        kinds = ['drop', 'rename', 'retype', 'swap']
        kind = draw(st.sampled_from(['misspell'] if isinstance(parent[key], Imported) else kinds))
        if kind == 'misspell':
            field = draw(st.sampled_from(['module', 'name']))
            written = getattr(parent[key], field)
            parent[key] = replace(parent[key], **{field: without_a_letter(draw, written)})
        elif kind == 'drop':
            del parent[key]
        elif kind == 'rename':
            parent[without_a_letter(draw, str(key))] = parent.pop(key)
        elif kind == 'retype':
            # a second mutation may change it
            parent[key] = copy.deepcopy(draw(st.sampled_from(OTHER_VALUES)))
            kind += f' to {parent[key]!r}'
        else:
            other = draw(st.sampled_from(paths))
            if other[: len(path)] == path or path[: len(other)] == other:
                continue
            there = below(config, other[:-1])
            parent[key], there[other[-1]] = there[other[-1]], parent[key]
            kind += f' with {".".join(map(str, other))}'
        done.append(f'{kind} {".".join(map(str, path))}')
    return Mutant(name, tuple(done), config)
