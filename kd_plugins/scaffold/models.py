"""Student and teacher as their library ships them, made for other classes, run once and listed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import MODELS as MMENGINE_MODELS

from kd_plugins.build import build_model, read_library_config, resolve_model_config
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight.modules import ModuleRow, list_modules
from kd_plugins.scaffold.data import training_data
from kd_plugins.scaffold.libraries import Library
from kd_plugins.scaffold.names import find_config
from kd_plugins.scaffold.silence import silence

IMAGES = 2


@dataclass(frozen=True)
class Model:
    """A model that a library ships.

    Attributes:
        library: The library.
        path: As ``'mmpretrain::resnet/resnet18_8xb32_in1k.py'``.
        where: The option that named it.
        whole: Its config, with data and schedule.
        weights: Address of the trained weights that the library lists; None where it lists none.
    """

    library: Library
    path: str
    where: str
    whole: Any
    weights: str | None

    @property
    def name(self) -> str:
        """Name of the config's file, without ending."""
        return self.path.rpartition('/')[2].removesuffix('.py')

    @property
    def mixes(self) -> list[str]:
        """Names of the ways in which its own training mixes the images of a batch."""
        augments = (self.whole.model.get('train_cfg') or {}).get('augments') or []
        return [augment['type'] for augment in (augments if isinstance(augments, list) else [augments])]

    def trains_on(self, kind: str) -> bool:
        """Whether its own config trains on a type of data set."""
        return training_data(self.whole).get('type') == kind

    def changes(self, classes: int, topk: bool = False) -> dict[str, Any]:
        """What in the model's config has to change for another number of classes.

        Args:
            classes: That number.
            topk: Whether to ask for top-1 accuracy alone then.
        """
        found: dict[str, Any] = {}
        for part, config in self.whole.model.items():
            changed = _with_classes(config, classes) if isinstance(config, Mapping) else {}
            if changed and topk and 'topk' in config:
                changed['topk'] = (1,)
            if changed:
                found[part] = changed
        return found


def find_model(name: str, where: str, library: Library) -> Model:
    """Find a model of a library.

    Args:
        name: As for :func:`kd_plugins.scaffold.names.find_config`.
        where: The option that named it.
        library: The library.

    Raises:
        UserError: There is none of that name, or it is not of the kind that is distilled.
    """
    path = find_config(name, where, library)
    try:
        weights = resolve_model_config(dict(cfg_path=path, pretrained=True), where)[2]
    except UserError:
        weights = None
    model = Model(library, path, where, read_library_config(path), weights)
    config = model.whole.get('model') or {}
    expected = f'the config of {library.kind}'
    if not config.get(library.part):
        got = f'{path}, a {config.get("type")} without {library.part}'
        raise UserError(Fault(where, expected, got, 'choose another model'))
    if library.part == 'head' and not any(_classes_in(config.get(part)) for part in ('head', 'backbone')):
        got = f'{path}, a {config.get("type")} without a number of classes'
        raise UserError(Fault(where, expected, got, 'choose one that is trained on labels'))
    return model


def wants_size(model: Model) -> bool:
    """Whether the backbone is made for images of one size, as those with embedded positions are."""
    with MMENGINE_MODELS.switch_scope_and_registry(model.library.package) as registry:
        backbone = registry.get(model.whole.model.backbone.type)
    return any(
        'img_size' in inspect.signature(vars(base)['__init__']).parameters
        for base in inspect.getmro(backbone)
        if '__init__' in vars(base)
    )


def trace(model: Model, changes: Mapping[str, Any], size: tuple[int, int]) -> list[ModuleRow]:
    """Run a model on made-up images and list its modules.

    Args:
        model: The model.
        changes: To be merged into its config.
        size: Height and width of the images, in pixels.

    Raises:
        UserError: It cannot be built, or does not take such images.
    """
    images = torch.zeros(IMAGES, 3, *size)
    with silence():
        built = build_model(dict(cfg_path=model.path, pretrained=False, **changes), model.where)[0].eval()
    try:
        with silence():
            return list_modules(lambda: getattr(built, model.library.forward)(images), built)
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        message = ' '.join(str(error).split())[:200]
        raise UserError(
            Fault(
                model.where,
                f'a model that takes images of {size[0]} x {size[1]} pixels',
                f'{model.path} ({type(error).__name__}: {message})',
                'choose another model' + (', or another --dataset' if model.library.package == 'mmpretrain' else ''),
            )
        ) from error


def _classes_in(config: Any) -> bool:
    return isinstance(config, Mapping) and isinstance(config.get('num_classes'), int) and config['num_classes'] > 0


def _with_classes(config: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The keys below a dict that give another number of classes, corrected."""
    changed: dict[str, Any] = {}
    if _classes_in(config) and config['num_classes'] != classes:
        changed['num_classes'] = classes
    for key, child in config.items():
        below = _with_classes(child, classes) if isinstance(child, Mapping) else {}
        if below:
            changed[key] = below
    return changed
