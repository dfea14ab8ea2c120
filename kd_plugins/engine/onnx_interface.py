"""What goes into an ONNX file and what comes out of it, and the metadata that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

INPUT, LOGITS, SCORES = 'images', 'logits', 'scores'
UNCONVERTED = 'as in the training data'


@dataclass(frozen=True)
class OnnxInterface:
    """What an ONNX file takes and gives.

    Attributes:
        shape: Of the images of a batch: channels, height and width.
        channel_order: Of the input: ``'BGR'``, ``'RGB'``, ``'gray'``, or that of the training data where nothing
            converts them and the config does not say what they are.
        preprocessing: Whether data_preprocessor is in the graph, which then takes pixels, uint8 from 0 to 255.
        softmax: Whether the output is the softmax of the logits.
        mean: Of each channel, in the order of the network's input; empty where data_preprocessor has none.
        std: The same.
        classes: Their names, in the order of the output; empty where they are not known.
    """

    shape: tuple[int, ...]
    channel_order: str
    preprocessing: bool = False
    softmax: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """Name of the output."""
        return SCORES if self.softmax else LOGITS

    def describe(self, config: str = 'the config beside this file') -> str:
        """Say in a sentence what the file takes and gives.

        Args:
            config: What to call the config that data_preprocessor stands in.
        """
        kind = (
            'uint8 pixels, 0 to 255, as they are before data_preprocessor'
            if self.preprocessing
            else f'float32, normalised as data_preprocessor in {config} says'
        )
        output = f'{SCORES}, the softmax of the logits' if self.softmax else f'{LOGITS}, before any softmax or sigmoid'
        size = ', '.join(map(str, ('N', *self.shape)))
        return f'It takes {INPUT} ({size}): {kind}, channels {self.channel_order}; it gives {output}.'

    def metadata(self) -> dict[str, str]:
        """The same by key, for ``metadata_props``; lists are JSON."""
        found = {
            'description': self.describe(),
            'input': 'pixels' if self.preprocessing else 'preprocessed',
            'channel_order': self.channel_order,
            'output': self.output,
        }
        if not self.preprocessing and self.mean:
            found |= {'mean': json.dumps(self.mean), 'std': json.dumps(self.std)}
        if self.classes:
            found['classes'] = json.dumps(self.classes)
        return found


def interface_of(
    model: nn.Module,
    images: Tensor,
    preprocessor: Mapping[str, Any],
    pipeline: Sequence[Mapping[str, Any]],
    classes: Any,
    preprocessing: bool,
    softmax: bool,
) -> OnnxInterface:
    """Work out what the ONNX file of a model takes and gives.

    Args:
        model: The classifier, with its ``data_preprocessor``.
        images: A batch that the file will take, (N, C, H, W).
        preprocessor: Config of its ``data_preprocessor``.
        pipeline: Config of the transforms before it.
        classes: Names of the classes, if they are known.
        preprocessing: Whether the preprocessor is in the graph.
        softmax: Whether the output is the softmax of the logits.
    """
    before, after = _channel_orders(images, preprocessor, pipeline)
    return OnnxInterface(
        shape=tuple(images.shape[1:]),
        channel_order=before if preprocessing else after,
        preprocessing=preprocessing,
        softmax=softmax,
        mean=_numbers(model, 'mean'),
        std=_numbers(model, 'std'),
        classes=tuple(map(str, classes)) if isinstance(classes, (list, tuple)) else (),
    )


def _channel_orders(
    images: Tensor, preprocessor: Mapping[str, Any], pipeline: Sequence[Mapping[str, Any]]
) -> tuple[str, str]:
    """The order of the channels before data_preprocessor and after it."""
    if images.shape[1] != 3:
        order = 'gray' if images.shape[1] == 1 else UNCONVERTED
        return order, order
    # mmpretrain calls it to_rgb
    if preprocessor.get('to_rgb') or preprocessor.get('bgr_to_rgb'):
        return 'BGR', 'RGB'
    if preprocessor.get('rgb_to_bgr'):
        return 'RGB', 'BGR'
    types = [str(step.get('type', '')) for step in pipeline]
    converted = any('to_rgb' in step for step in pipeline) or any('PIL' in name for name in types)
    # mmcv decodes files to BGR
    order = 'BGR' if types and types[0].endswith('LoadImageFromFile') and not converted else UNCONVERTED
    return order, order


def _numbers(model: nn.Module, name: str) -> tuple[float, ...]:
    values = getattr(getattr(model, 'data_preprocessor', None), name, None)
    return tuple(values.flatten().tolist()) if isinstance(values, Tensor) else ()
