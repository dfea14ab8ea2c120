"""A classifier as ONNX, and its quantised layers as QuantizeLinear, Clip and DequantizeLinear (QCDQ)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from kd_plugins.engine.onnx_interface import INPUT, OnnxInterface
from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.preflight.probe import probe_batch

OPSET = 17


def images_of(config: Any, model: nn.Module, pixels: bool = False) -> Tensor:
    """Two images as the model of a config gets them, (2, C, H, W), made-up ones or the first of its data.

    Their size is that of the test data, or of the validation data, where such have one.

    Args:
        config: The whole config, with ``default_scope``.
        model: The model, with its ``data_preprocessor``.
        pixels: Leave them as they are before ``data_preprocessor``.

    Raises:
        UserError: There are none; or the pipeline gives no pixels where these are asked for.
    """
    with DefaultScope.overwrite_default_scope(config.default_scope):
        for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
            batch = probe_batch(config, loader)
            if batch is None:
                continue
            images = _pixels_of(batch, loader) if pixels else model.data_preprocessor(batch, False)['inputs']  # type: ignore[operator]
            if isinstance(images, Tensor) and images.dim() == 4:
                return images
    expected, advice = 'images, whose size the file needs', 'put the data where the config says'
    raise UserError(Fault('test_dataloader', expected, 'none', advice))


def _pixels_of(batch: Any, loader: str) -> Any:
    images = batch.get('inputs') if isinstance(batch, dict) else None
    if isinstance(images, (list, tuple)) and len({str(getattr(image, 'shape', None)) for image in images}) == 1:
        images = torch.stack(list(images)) if isinstance(images[0], Tensor) else None
    if isinstance(images, Tensor) and images.dtype != torch.uint8:
        kind = str(images.dtype).removeprefix('torch.')
        expected = f'a pipeline in {loader} that gives pixels, uint8 from 0 to 255'
        advice = 'leave it out: the pipeline itself computes with the pixels, so that the file cannot take them raw'
        raise UserError(Fault('--with-preprocessing', expected, f'images of {kind}', advice))
    return images


def save_onnx(model: nn.Module, images: Tensor, path: Path, interface: OnnxInterface) -> None:
    """Write a classifier as ONNX, with its interface in ``metadata_props``; the number of images is free.

    Args:
        model: The classifier, in eval mode.
        images: A batch of the size that the file will take, (N, C, H, W): uint8 for ``interface.preprocessing``,
            otherwise preprocessed.
        path: The file.
        interface: What it takes and gives.

    Raises:
        UserError: onnx is not installed, or the model gives no logits, its scores are no softmax of them where that is
            asked for, or it has 1 bit somewhere, or a layer beyond ONNX.
    """
    network = _Network(model, interface)
    with torch.no_grad():
        ready = network.prepare(images)
        logits = model(ready, mode='tensor')
    if not isinstance(logits, Tensor):
        raise UserError(Fault('model', 'a classifier, which gives logits', f'a {type(logits).__name__}', 'choose .pth'))
    if interface.softmax:
        _require_softmax(model, ready, logits)
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        advice = "pip install 'kd_plugins[quantized]'"
        raise UserError(Fault('OUT', 'the package onnx, which writes .onnx', 'it is not installed', advice)) from error
    quantised = any(type(module).__module__.startswith('brevitas.') for module in model.modules())
    try:
        with _silence(), torch.no_grad():
            if quantised:
                _refuse_one_bit(model)
                with _quantised_for_export(network, images):
                    _export(network, images, path, interface)
            else:
                _export(network, images, path, interface)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise UserError(
            Fault('model', 'layers that ONNX knows', describe_error(error), 'choose .pth or .safetensors')
        ) from error


class _Network(nn.Module):
    def __init__(self, model: nn.Module, interface: OnnxInterface) -> None:
        super().__init__()
        self.model = model
        self.interface = interface

    def prepare(self, images: Tensor) -> Tensor:
        """The model's own preprocessing, where the file has it."""
        if not self.interface.preprocessing:
            return images
        return self.model.data_preprocessor({'inputs': images}, False)['inputs']  # type: ignore[operator]

    def forward(self, images: Tensor) -> Any:
        logits = self.model(self.prepare(images), mode='tensor')
        return logits.softmax(1) if self.interface.softmax else logits


def _require_softmax(model: nn.Module, images: Tensor, logits: Tensor) -> None:
    """Refuse a model whose own scores are another function of its logits."""
    with torch.no_grad():
        own = _predicted_scores(model, images)
    if own is not None and own.shape == logits.shape:
        if torch.allclose(own, logits.softmax(1), atol=1e-5):
            return
        if torch.allclose(own, logits.sigmoid(), atol=1e-5):
            got = 'a multi-label head, whose scores are sigmoids, each class by itself'
            advice = 'leave it out, and apply a sigmoid to the logits where the file is used'
            raise UserError(Fault('--softmax', 'a model whose scores are the softmax of its logits', got, advice))
    got = 'one that predicts no scores to compare with' if own is None else 'one whose scores are something else'
    advice = 'leave it out, and compute the scores from the logits where the file is used'
    raise UserError(Fault('--softmax', 'a model whose scores are the softmax of its logits', got, advice))


def _predicted_scores(model: nn.Module, images: Tensor) -> Tensor | None:
    """What the model itself predicts, (N, C); None where its predictions have no ``pred_score``."""
    try:
        samples = model(images, mode='predict')
        return torch.stack([sample.pred_score for sample in samples])
    except Exception:  # a model of someone else may want anything for a prediction
        return None


def _export(network: nn.Module, images: Tensor, path: Path, interface: OnnxInterface) -> None:
    import onnx

    torch.onnx.export(
        network.eval(),
        (images,),
        str(path),
        # Brevitas' layers in the newer exporter need onnxscript and store weights as floats
        dynamo=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[interface.output],
        dynamic_axes={INPUT: {0: 'N'}, interface.output: {0: 'N'}},
    )
    # weights that the exporter put into files of their own stay there
    written = onnx.load(str(path), load_external_data=False)
    onnx.helper.set_model_props(written, interface.metadata())
    onnx.save(written, str(path))


@contextmanager
def _quantised_for_export(network: nn.Module, images: Tensor) -> Iterator[None]:
    """Inside, Brevitas' layers compute with the operators of ONNX.

    Brevitas' own ``export_onnx_qcdq`` does the same, and then runs an optimiser that we have no need of.
    """
    from brevitas.export.manager import ExportContext
    from brevitas.export.onnx.standard.qcdq.manager import StdQCDQONNXManager

    with ExportContext(StdQCDQONNXManager):
        network.apply(StdQCDQONNXManager.set_export_handler)
        StdQCDQONNXManager._cache_inp_out(network, images)
        StdQCDQONNXManager.set_export_mode(network, enabled=True)
        try:
            yield
        finally:
            StdQCDQONNXManager.set_export_mode(network, enabled=False)


def _refuse_one_bit(model: nn.Module) -> None:
    from brevitas.proxy.quant_proxy import QuantProxyFromInjector

    for name, module in model.named_modules():
        if isinstance(module, QuantProxyFromInjector) and module.is_quant_enabled and module.bit_width() == 1:
            advice = 'choose .packed.safetensors, or train with 2 bits'
            raise UserError(Fault('OUT', "2 bits or more, for Brevitas' ONNX", f'1 bit in {name}', advice))


@contextmanager
def _silence() -> Iterator[None]:
    """Tracing warns of everything that it takes for constant, and torch of its older exporter."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
