"""From a config of MMRazor to one of this package."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

from kd_plugins.compat.bridge import require_mmrazor
from kd_plugins.compat.distillers import translate_distiller
from kd_plugins.compat.names import (
    MMCLS,
    MMPRETRAIN,
    MMRAZOR,
    derives_from_ours,
    is_mmengine_name,
    is_mmrazor_config,
    translate_name,
)
from kd_plugins.compat.notes import Notes
from kd_plugins.compat.preprocessing import preprocessor_for_mmpretrain
from kd_plugins.compat.reading import read_package_config, rename_config
from kd_plugins.compat.timm_names import REGNETS_OF_TIMM
from kd_plugins.compat.values import name_at, part_at
from kd_plugins.distiller import DISTILLERS
from kd_plugins.errors import Fault, UserError, describe_error, join_path
from kd_plugins.registry import SCOPE

# mmpretrain's data sets whose test images mmcls chose by test_mode
SPLIT_BY_TEST_MODE = {'CIFAR10', 'CIFAR100', 'CUB', 'FashionMNIST', 'MNIST'}


def translate(config: Config) -> tuple[Config, list[str]]:
    """Write a config of MMRazor as one of this package.

    One whose algorithm is MMRazor's, and here as well, is translated as a whole: MMRazor's types become ours of the
    same name, and those that we lack stay ``mmrazor.X``. In every other config ``mmrazor.X`` is what it says. In all of
    them mmcls is read as mmpretrain, which is its successor.

    Args:
        config: As :func:`kd_plugins.compat.read_config` returns it, with the user's options; it stays as it is.

    Returns:
        The translated config, and a line for each kind of thing that was read differently.

    Raises:
        UserError: A ``cfg_path`` leads to a config of mmrazor's, which is not installed or has no such config, or has
            ``pretrained=True`` beside it.
    """
    config = copy.deepcopy(config)
    notes = Notes()
    of_mmrazor = is_mmrazor_config(config)
    scope = config.get('default_scope')
    if scope == MMCLS or (scope == MMRAZOR and of_mmrazor):
        notes.add(f'default_scope {scope} -> {MMPRETRAIN}', 'default_scope')
        config.default_scope = MMPRETRAIN
    lookup = config.get('default_scope') or MMPRETRAIN
    root = config._cfg_dict
    _expand_paths(root, '', notes)
    _Names(of_mmrazor, notes).translate(root, scope or MMPRETRAIN, lookup)
    constructor = name_at(config.get('optim_wrapper'), 'constructor')
    if constructor is not None:
        config.optim_wrapper.constructor = _Names(of_mmrazor, notes).name(constructor, scope)
    if of_mmrazor:
        for key in DISTILLERS:
            translate_distiller(config.model.get(key), f'model.{key}', notes)
        if lookup == MMPRETRAIN:
            _translate_preprocessor(config.model, notes)
            _translate_parts(root, '', notes)
    return config, notes.lines()


def mmrazor_types(config: Config) -> list[str]:
    """Key paths of the types that a translated config takes from the mmrazor package."""
    constructor = name_at(config.get('optim_wrapper'), 'constructor') or ''
    own = ['optim_wrapper.constructor'] if constructor.startswith(f'{MMRAZOR}.') else []
    return own + list(_mmrazor_types(config._cfg_dict, '', ''))


def _mmrazor_types(node: Any, where: str, scope: str) -> Iterator[str]:
    if isinstance(node, dict):
        scope = node.get('_scope_', scope)
        kind = name_at(node, 'type')
        prefix, _, name = (kind or '').rpartition('.')
        if kind and (prefix or scope) == MMRAZOR and (prefix or not is_mmengine_name(name)):
            yield join_path(where, 'type')
    for key, child in _children(node):
        yield from _mmrazor_types(child, join_path(where, key), scope)


class _Names:
    """Translates types and scopes of a config.

    Args:
        of_mmrazor: Whether the config is one of MMRazor's.
        notes: Gets what changed.
    """

    def __init__(self, of_mmrazor: bool, notes: Notes) -> None:
        self.of_mmrazor = of_mmrazor
        self.notes = notes

    def translate(self, node: Any, scope: str, lookup: str) -> None:
        """Translate a part of a config in place.

        Args:
            node: The part.
            scope: Where its names belong as it was written.
            lookup: Where they are looked up once it is translated.
        """
        if isinstance(node, dict):
            if '_scope_' in node:
                scope = node.pop('_scope_') or scope
                wanted = MMPRETRAIN if scope == MMCLS else scope
                # in a config of MMRazor, names of its scope are translated into full ones
                needed = not self.of_mmrazor or wanted not in (MMRAZOR, lookup)
                if needed:
                    node['_scope_'] = lookup = wanted
            if isinstance(node.get('type'), str):
                node['type'] = self.name(node['type'], scope)
        inside = _Names(False, self.notes) if self._is_theirs(node) else self
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
            inside.translate(child, scope, lookup)

    def _is_theirs(self, node: Any) -> bool:
        """Whether a part is the mmrazor package's own, which expects its own parts in it."""
        prefix, _, name = (name_at(node, 'type') or '').rpartition('.')
        return self.of_mmrazor and prefix == MMRAZOR and not derives_from_ours(name)

    def name(self, name: str, scope: str | None) -> str:
        """A type as it is called here."""
        new = translate_name(name, scope, self.of_mmrazor)
        bare = new.rpartition('.')[2]
        if new.startswith(f'{MMRAZOR}.') and self.of_mmrazor:
            self.notes.add('from the installed package mmrazor, for kd_plugins has none of that name', bare)
        elif new != name and new.startswith(f'{SCOPE}.'):
            self.notes.add(f'{MMRAZOR}.X -> {SCOPE}.X', bare)
        elif new != name and bare != name.rpartition('.')[2]:
            self.notes.add('renamed in mmpretrain', f'{name} -> {new}')
        elif new != name:
            self.notes.add(f'{MMCLS}.X -> {MMPRETRAIN}.X', bare)
        return new


def _expand_paths(node: Any, where: str, notes: Notes) -> None:
    """Find configs of packages by the names that they have today; write out mmrazor's, which inherit from mmcls."""
    if isinstance(node, dict):
        path = name_at(node, 'cfg_path') or ''
        if path.startswith(f'{MMCLS}::'):
            node['cfg_path'] = rename_config(path)
            notes.add(f'{MMCLS}:: -> {MMPRETRAIN}:: in cfg_path', node['cfg_path'].partition('::')[2])
        elif path.startswith(f'{MMRAZOR}::'):
            _write_out(node, where)
            notes.add('cfg_path of mmrazor written out', where)
        elif rename_config(path) != path:
            node['cfg_path'] = rename_config(path)
            notes.add('renamed', f'{path} -> {node["cfg_path"]}')
    for key, child in _children(node):
        _expand_paths(child, join_path(where, key), notes)


def _write_out(node: dict[str, Any], where: str) -> None:
    changes = copy.deepcopy(dict(node))
    path, pretrained = changes.pop('cfg_path'), changes.pop('pretrained', False)
    place = join_path(where, 'cfg_path')
    if pretrained:
        advice = 'set pretrained=False, and give a checkpoint for a teacher'
        raise UserError(Fault(join_path(where, 'pretrained'), 'False, for mmrazor lists no weights', 'True', advice))
    require_mmrazor(place)
    try:
        library = read_package_config(path)
    except (OSError, AssertionError, ValueError) as error:
        advice = 'look in mmrazor/.mim/configs'
        got = f'{path!r} ({describe_error(error, 160)})'
        raise UserError(Fault(place, 'a config that mmrazor ships', got, advice)) from error
    if not isinstance(library.get('model'), dict):
        raise UserError(Fault(place, 'a config of a model', f'{path!r}, which has none', 'choose one that has'))
    merged = Config(dict(model=library.model))
    try:
        merged.merge_from_dict({'model': changes})
    except (KeyError, TypeError, IndexError, AssertionError) as error:
        got = f'{", ".join(map(str, changes))} ({describe_error(error, 160)})'
        raise UserError(Fault(where, f'keys that fit {path}', got, 'correct the key')) from error
    if 'data_preprocessor' in library:
        merged.model.setdefault('data_preprocessor', library.data_preprocessor)
    merged.model.setdefault('_scope_', MMRAZOR)
    node.clear()
    node.update(merged.model)


def _translate_preprocessor(model: Any, notes: Notes) -> None:
    translated = preprocessor_for_mmpretrain(part_at(model, 'data_preprocessor'))
    if translated is not None:
        model.data_preprocessor = translated
        notes.add(
            'ImgDataPreprocessor -> mmpretrain.ClsDataPreprocessor, bgr_to_rgb -> to_rgb', 'model.data_preprocessor'
        )


def _translate_parts(node: Any, where: str, notes: Notes) -> None:
    """What means something else to mmpretrain, or asks for a package that nothing else here needs."""
    if isinstance(node, dict):
        kind = (name_at(node, 'type') or '').rpartition('.')[2]
        if kind in SPLIT_BY_TEST_MODE and node.get('test_mode') and 'split' not in node:
            node['split'] = 'test'
            notes.add("split='test' written beside test_mode=True, which mmpretrain takes for the training set", where)
        if kind == 'TIMMBackbone' and name_at(node, 'model_name') in REGNETS_OF_TIMM:
            _translate_regnet(node)
            notes.add(f"timm's {node.pop('model_name')} -> {SCOPE}.RegNetY", where)
    for key, child in _children(node):
        _translate_parts(child, join_path(where, key), notes)


def _translate_regnet(node: dict[str, Any]) -> None:
    arguments, weights = REGNETS_OF_TIMM[node['model_name']]
    for key in ('features_only', 'checkpoint_path'):
        node.pop(key, None)
    pretrained = node.pop('pretrained', False)
    node.update(copy.deepcopy(arguments), type=f'{SCOPE}.RegNetY')
    if pretrained:
        node.setdefault('init_cfg', ConfigDict(type='Pretrained', checkpoint=weights))


def _children(node: Any) -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        return [(str(key), child) for key, child in node.items()]
    return [(str(index), child) for index, child in enumerate(node)] if isinstance(node, (list, tuple)) else []
