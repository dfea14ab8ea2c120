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

from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.preflight.probe import probe_batch

INPUT, OUTPUT = 'images', 'scores'
OPSET = 17


def images_of(config: Any, model: nn.Module) -> Tensor:
    """Two images as the model of a config gets them, (2, C, H, W), made-up ones or the first of its data.

    Their size is that of the test data, or of the validation data, where such have one.

    Args:
        config: The whole config, with ``default_scope``.
        model: The model, with its ``data_preprocessor``.

    Raises:
        UserError: There are none.
    """
    with DefaultScope.overwrite_default_scope(config.default_scope):
        for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
            batch = probe_batch(config, loader)
            images = None if batch is None else model.data_preprocessor(batch, False)['inputs']  # type: ignore[operator]
            if isinstance(images, Tensor) and images.dim() == 4:
                return images
    expected, advice = 'images, whose size the file needs', 'put the data where the config says'
    raise UserError(Fault('test_dataloader', expected, 'none', advice))


def save_onnx(model: nn.Module, images: Tensor, path: Path) -> None:
    """Write a classifier as ONNX, from ``images`` (N, C, H, W), preprocessed, to ``scores`` (N, classes), any N.

    Args:
        model: The classifier, in eval mode.
        images: A batch of the size that the file will take.
        path: The file.

    Raises:
        UserError: onnx is not installed, or the model gives no scores, has 1 bit somewhere, or a layer beyond ONNX.
    """
    network = _Scores(model)
    with torch.no_grad():
        scores = network(images)
    if not isinstance(scores, Tensor):
        raise UserError(Fault('model', 'a classifier, which gives scores', f'a {type(scores).__name__}', 'choose .pth'))
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
                    _export(network, images, path)
            else:
                _export(network, images, path)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise UserError(
            Fault('model', 'layers that ONNX knows', describe_error(error), 'choose .pth or .safetensors')
        ) from error


class _Scores(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        return self.model(images, mode='tensor')


def _export(network: nn.Module, images: Tensor, path: Path) -> None:
    torch.onnx.export(
        network.eval(),
        (images,),
        str(path),
        # Brevitas' layers in the newer exporter need onnxscript and store weights as floats
        dynamo=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: 'N'}, OUTPUT: {0: 'N'}},
    )


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
