"""Take the student out of a training: weights and a config that its own library loads, or a file that is deployed."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, METRICS, TRANSFORMS, DefaultScope

from kd_plugins.arguments import require_writable
from kd_plugins.build import FALLBACK_SCOPE, build_model, is_registered, names_in, resolve_model_config
from kd_plugins.checkpoint import describe_misfit, read_checkpoint, weights_of
from kd_plugins.compat.names import MMPRETRAIN
from kd_plugins.compat.preprocessing import preprocessor_for_mmpretrain
from kd_plugins.config_file import read_config_file
from kd_plugins.engine.export_onnx import images_of, save_onnx
from kd_plugins.engine.onnx_interface import OnnxInterface, interface_of
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import pipeline_of
from kd_plugins.registry import SCOPE

PACKED_SUFFIX = '.packed.safetensors'
ONNX_SUFFIX = '.onnx'
SUFFIXES = ('.pth', '.safetensors', PACKED_SUFFIX, ONNX_SUFFIX)
HEADER = '# Exported by kd_plugins'


@dataclass(frozen=True)
class ExportedStudent:
    """What an export wrote.

    Attributes:
        weights: The checkpoint.
        config: The config beside it.
        parameters: Number of the student's parameters.
        scope: The library that builds it, such as ``mmpretrain``.
        needs_kd_plugins: Whether a part of the student itself is of this package.
        has_pipeline: Whether the config says how an image is prepared.
        interface: What an ``.onnx`` file takes and gives; None for others.
    """

    weights: Path
    config: Path
    parameters: int
    scope: str
    needs_kd_plugins: bool
    has_pipeline: bool
    interface: OnnxInterface | None = None


def export_student(
    config: Config, checkpoint: str | Path, out: str | Path, *, softmax: bool = False, with_preprocessing: bool = False
) -> ExportedStudent:
    """Write the student of a distillation, and beside it a config of the student alone.

    ``.pth`` and ``.safetensors`` are plain checkpoints. ``.packed.safetensors`` holds the weights of quantised layers
    in as few bits as they have, ``.onnx`` the network for other programs; for both, a model that was trained without a
    teacher is a student, too.

    With an EMA hook the checkpoint's ``state_dict`` holds the averaged weights, and those are exported.

    Args:
        config: The whole config of the training, of :func:`kd_plugins.engine.config.load_config`.
        checkpoint: A checkpoint of its training.
        out: Where the weights go; the suffix says how. The config goes beside, with the suffix ``.py``. Files of an
            earlier export are replaced, others are not.
        softmax: Give scores instead of logits; for ``.onnx``.
        with_preprocessing: Take pixels, uint8 from 0 to 255, and preprocess them in the graph; for ``.onnx``.

    Returns:
        What was written.

    Raises:
        UserError: The config is not that of a distillation, the checkpoint is not one of its student, the student has
            no such form, ``out`` cannot be written, or has no such option. Nothing is left behind then.
    """
    out = Path(out).expanduser()
    _check_target(out)
    _check_options(out, {'--softmax': softmax, '--with-preprocessing': with_preprocessing})
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or FALLBACK_SCOPE):
        alone = _suffix_of(out) in (PACKED_SUFFIX, ONNX_SUFFIX)
        scope, model_config = student_config(config, alone)
        plain = {**model_config, '_scope_': scope}
        student, _ = build_model(copy.deepcopy(plain), 'model.architecture', as_library=True)
    content = read_checkpoint(checkpoint, 'CHECKPOINT')
    weights = weights_of(content)
    misfit = describe_misfit(student, weights)
    if misfit:
        raise UserError(
            Fault(
                'CHECKPOINT',
                'a checkpoint of the student in CONFIG',
                f'{checkpoint}, with {misfit}',
                'give a checkpoint that was trained with this config',
            )
        )

    meta = content.get('meta')
    dataset_meta = _plain(meta.get('dataset_meta')) if isinstance(meta, Mapping) else None
    testing = _testing(config, scope, dataset_meta)
    modules = {type(module).__module__ for module in student.modules()} | set(_modules_of(testing, scope))
    if _is_ours(model_config):
        modules.add(SCOPE)
    exported: dict[str, Any] = dict(default_scope=scope)
    imports = _imports_of(config, modules)
    if imports:
        exported['custom_imports'] = dict(imports=imports, allow_failed_imports=False)
    exported['model'] = model_config
    exported.update(testing)
    student.eval()
    interface = None
    if _suffix_of(out) == PACKED_SUFFIX:
        # imports mmpretrain, which the model has done by now
        from kd_plugins.models.quantized import save_packed

        _write(out, Config(exported), lambda path: save_packed(student, path))
    elif _suffix_of(out) == ONNX_SUFFIX:
        images = images_of(config, student, pixels=with_preprocessing)
        interface = interface_of(
            student,
            images,
            model_config.get('data_preprocessor') or {},
            _pipeline_of_testing(config),
            dataset_meta.get('classes') if isinstance(dataset_meta, Mapping) else None,
            preprocessing=with_preprocessing,
            softmax=softmax,
        )
        _write(out, Config(exported), lambda path: save_onnx(student, images, path, interface))
    else:
        meta = {'dataset_meta': dataset_meta or {}}
        _write(out, Config(exported), lambda path: _save_checkpoint(weights, meta, path))
    return ExportedStudent(
        weights=out,
        config=config_beside(out),
        parameters=sum(parameter.numel() for parameter in student.parameters()),
        scope=scope,
        needs_kd_plugins=SCOPE in imports,
        has_pipeline='test_dataloader' in exported,
        interface=interface,
    )


def config_beside(out: Path) -> Path:
    """Where the config of an exported file lies."""
    return out.with_name(f'{out.name.removesuffix(_suffix_of(out))}.py')


def _suffix_of(out: Path) -> str:
    return PACKED_SUFFIX if out.name.endswith(PACKED_SUFFIX) else out.suffix


def _check_target(out: Path) -> None:
    if out.suffix not in SUFFIXES:
        expected = f'a file name that ends in {" or ".join(SUFFIXES)}'
        raise UserError(Fault('OUT', expected, str(out), f'write for instance {out.with_suffix(SUFFIXES[0])}'))
    require_writable('OUT', out)
    config = config_beside(out)
    for path in (out, config):
        if path.exists() and not _is_earlier_export(config):
            raise UserError(
                Fault('OUT', 'new files, or those of an earlier export', f'{path}, which exists', 'choose another name')
            )


def _check_options(out: Path, options: Mapping[str, bool]) -> None:
    given = [name for name, value in options.items() if value]
    if given and _suffix_of(out) != ONNX_SUFFIX:
        advice = f'write {config_beside(out).with_suffix(ONNX_SUFFIX)}, or leave {" and ".join(given)} out'
        raise UserError(Fault(', '.join(given), f'a file that ends in {ONNX_SUFFIX}', str(out), advice))


def _is_earlier_export(config: Path) -> bool:
    return config.is_file() and config.read_bytes().startswith(HEADER.encode())


def student_config(config: Config, alone: bool) -> tuple[str, ConfigDict]:
    """The student's scope, and its config with ``cfg_path`` resolved and the preprocessing that it was trained with.

    Args:
        config: The whole config.
        alone: Whether a model that was trained without a distillation will do.
    """
    architecture = config.model.get('architecture', config.model if alone else None)
    if architecture is None:
        raise UserError(
            Fault(
                'model.architecture',
                'the student of a distillation',
                f'a {config.model.get("type")}, which has none',
                'give the config of a distillation; the checkpoint of a model alone is plain already',
            )
        )
    if isinstance(architecture, Mapping) and 'cfg_path' in architecture:
        architecture = {**architecture, 'pretrained': False}
    scope, model, _ = resolve_model_config(copy.deepcopy(architecture), 'model.architecture')
    preprocessor = config.model.get('data_preprocessor') or config.get('data_preprocessor')
    if preprocessor is not None:
        model.data_preprocessor = copy.deepcopy(preprocessor)
    # mmpretrain alone does not build a model with mmengine's preprocessor
    translated = preprocessor_for_mmpretrain(model.get('data_preprocessor')) if scope == MMPRETRAIN else None
    if translated is not None:
        model.data_preprocessor = translated
    _drop_pretrained(model)
    return scope, model


def _drop_pretrained(node: Any) -> None:
    """Forget where weights came from before the training: the checkpoint has them all."""
    if isinstance(node, dict):
        initialisation = node.get('init_cfg')
        if isinstance(initialisation, dict) and initialisation.get('type') == 'Pretrained':
            del node['init_cfg']
        if node.get('pretrained'):
            node['pretrained'] = False if node['pretrained'] is True else None
    children = node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    for child in children:
        _drop_pretrained(child)


def _imports_of(config: Config, modules: set[str]) -> list[str]:
    """The ``custom_imports`` that the classes of modules come from, and this package where it is one of them."""
    imports = (config.get('custom_imports') or {}).get('imports', [])
    names = dict.fromkeys([*([imports] if isinstance(imports, str) else imports), SCOPE])
    return [name for name in names if any(f'{module}.'.startswith(f'{name}.') for module in modules)]


def _modules_of(testing: Mapping[str, Any], scope: str) -> Iterator[str]:
    """Where the classes of data sets, transforms and metrics are defined."""
    for root, key in ((DATASETS, 'test_dataloader'), (TRANSFORMS, 'test_dataloader'), (METRICS, 'test_evaluator')):
        with root.switch_scope_and_registry(scope) as registry:
            for _, name in names_in(testing.get(key)):
                if is_registered(registry, name):
                    yield registry.get(name).__module__


def _testing(config: Config, scope: str, dataset_meta: Any) -> dict[str, Any]:
    """The test data, the metrics and the loop, as far as they do without this package; without a pipeline, nothing."""
    loader = copy.deepcopy(config.get('test_dataloader') or config.get('val_dataloader'))
    pipeline = pipeline_of(loader.get('dataset')) if isinstance(loader, dict) else None
    if not pipeline or _is_ours(pipeline):
        return {}
    if _is_ours(loader) or 'pipeline' not in loader.dataset:
        if not str(pipeline[0].get('type', '')).startswith('Load'):
            pipeline = [dict(type='LoadImageFromFile'), *pipeline]
        # any folder of images: the user adds data_root
        dataset = dict(type='CustomDataset' if scope == FALLBACK_SCOPE else 'BaseDataset', pipeline=pipeline)
        if dataset_meta:
            dataset['metainfo'] = dataset_meta
        loader = dict(
            batch_size=loader.get('batch_size', 1),
            num_workers=loader.get('num_workers', 0),
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=False),
        )
    evaluator = config.get('test_evaluator') or config.get('val_evaluator')
    loop = config.get('test_cfg')
    if evaluator is None or _is_ours(evaluator):
        return dict(test_dataloader=loader)
    return dict(
        test_dataloader=loader, test_evaluator=evaluator, test_cfg={} if loop is None or _is_ours(loop) else loop
    )


def _pipeline_of_testing(config: Config) -> list[dict[str, Any]]:
    loader = config.get('test_dataloader') or config.get('val_dataloader') or config.get('train_dataloader')
    return (pipeline_of(loader.get('dataset')) if isinstance(loader, dict) else None) or []


def _is_ours(node: Any) -> bool:
    """Whether a type of this package is named anywhere in a config."""
    if isinstance(node, dict):
        return str(node.get('type', '')).startswith(f'{SCOPE}.') or any(map(_is_ours, node.values()))
    return isinstance(node, (list, tuple)) and any(map(_is_ours, node))


def _plain(value: Any) -> Any:
    """The same in plain Python values; what has no such form becomes None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else list(map(_plain, value))
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool)) else None


def _save_checkpoint(weights: Mapping[str, torch.Tensor], meta: dict[str, Any], path: Path) -> None:
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}
    if path.suffix == '.safetensors':
        metadata = {'format': 'pt', **{key: json.dumps(value) for key, value in meta.items()}}
        safetensors.torch.save_file(tensors, path, metadata)
        return
    with path.open('wb') as file:
        torch.save({'state_dict': tensors, 'meta': meta}, file)


def _write(out: Path, config: Config, save: Callable[[Path], None]) -> None:
    """Write both files under a temporary name, look whether the config reads as it should, and move them in place."""
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix='.export_') as folder:
            written = Path(folder, out.name)
            described = Path(folder, 'student.py')
            described.write_text(_config_text(config), encoding='utf-8')
            if read_config_file(described).to_dict() != config.to_dict():
                raise UserError(
                    Fault(
                        'model.architecture', 'plain values', 'some that a file cannot hold', 'write types as strings'
                    )
                )
            save(written)
            os.replace(described, config_beside(out))
            os.replace(written, out)
    except OSError as error:
        raise UserError(Fault('OUT', 'a place that can be written', f'{out} ({error})', 'choose another')) from error


def _config_text(config: Config) -> str:
    return f'{HEADER}: a student alone, for {config.default_scope}; its weights lie beside it\n{config.pretty_text}'
