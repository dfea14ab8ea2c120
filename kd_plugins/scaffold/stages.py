"""The stages of a backbone, found by running it, and which of them two backbones have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kd_plugins.preflight.modules import ModuleRow
from kd_plugins.preflight.shapes import Shape

# a class token, and DeiT's distillation token
MOST_EXTRA_TOKENS = 2
# layers that only rescale or pass on what the block before them gave
PASSES_ON = ('Identity', 'Dropout', 'DropPath')


@dataclass(frozen=True)
class Source:
    """A tensor that a recorder can take from a model.

    Attributes:
        path: Of the module.
        shape: Of the tensor, the batch first.
        record_idx: Which of several calls; None where there is one.
        data_idx: Which element of a tuple; None where it is no tuple.
    """

    path: str
    shape: Shape
    record_idx: int | None = None
    data_idx: int | None = None

    @property
    def config(self) -> str | dict[str, Any]:
        """As the short form of a distiller's config has it."""
        indices = {'record_idx': self.record_idx, 'data_idx': self.data_idx}
        given = {key: value for key, value in indices.items() if value is not None}
        return {'source': self.path, **given} if given else self.path


@dataclass(frozen=True)
class Stage:
    """The last feature of one resolution.

    Attributes:
        stride: Pixels of the image per position of the feature, in one direction, rounded to a power of two.
        source: Where to record it.
    """

    stride: int
    source: Source


def find_stages(rows: Sequence[ModuleRow], image: tuple[int, int], root: str = 'backbone') -> list[Stage]:
    """Find the last feature of each resolution of a backbone.

    A feature is a map (N, C, H, W) or the tokens (N, L, C) of a square grid, with up to two extra tokens. Left out are
    features of a single position, the steps inside a block of another resolution (the first convolution of the next
    stage is at the resolution of the one before), and layers that only rescale or pass on.

    Args:
        rows: Of :func:`kd_plugins.preflight.modules.list_modules`.
        image: Height and width of the images, in pixels.
        root: Path of the backbone.

    Returns:
        The stages from high to low resolution. The source of each is the outermost module that gives the feature.
    """
    batch = _batch_of(rows)
    strides = {
        row.name: {_stride(shape, image, batch) for output in row.outputs for _, shape in _tensors(output)} - {None}
        for row in rows
    }
    last: dict[int, tuple[int, Source]] = {}
    for row in rows:
        if not row.name.startswith(f'{root}.') or 'Norm' in row.kind or row.kind in PASSES_ON:
            continue
        around = [strides[name] for name in _containers(row.name, root) if strides.get(name)]
        for call, (output, finished) in enumerate(zip(row.outputs, row.finished, strict=True)):
            for data_idx, shape in _tensors(output):
                stride = _stride(shape, image, batch)
                inside_another = any(stride not in outer for outer in around)
                if not stride or inside_another or last.get(stride, (-1,))[0] >= finished:
                    continue
                last[stride] = finished, Source(row.name, shape, call if len(row) > 1 else None, data_idx)
    return [Stage(stride, source) for stride, (_, source) in sorted(last.items())]


def find_levels(rows: Sequence[ModuleRow], image: tuple[int, int], root: str = 'neck') -> list[Stage]:
    """Find the levels of a feature pyramid.

    Args:
        rows: Of :func:`kd_plugins.preflight.modules.list_modules`.
        image: Height and width of the images, in pixels.
        root: Path of the neck.

    Returns:
        A stage for each map that the neck returns, from high to low resolution; the first where several have one
        stride.
    """
    levels: dict[int, Stage] = {}
    for row in rows:
        if row.name == root and row.outputs:
            for data_idx, shape in _tensors(row.outputs[-1]):
                stride = _stride(shape, image, _batch_of(rows))
                if stride and stride not in levels:
                    levels[stride] = Stage(stride, Source(root, shape, data_idx=data_idx))
    return [levels[stride] for stride in sorted(levels)]


def pair_stages(student: Sequence[Stage], teacher: Sequence[Stage], most: int = 2) -> list[tuple[Stage, Stage]]:
    """Pair the stages of two backbones by resolution.

    Args:
        student: Of :func:`find_stages`.
        teacher: Likewise.
        most: How many pairs to return at most; those of the lowest resolutions are kept.

    Returns:
        Pairs of one stride, student first, from high to low resolution. Where the two have no stride in common, the
        pair whose strides are closest, the deepest of those. Empty where one has no stages.
    """
    by_stride = {stage.stride: stage for stage in teacher}
    common = [(stage, by_stride[stage.stride]) for stage in student if stage.stride in by_stride]
    if common or not student or not teacher:
        return sorted(common, key=lambda pair: pair[0].stride)[-most:]
    pairs = [(own, theirs) for own in student for theirs in teacher]
    return [min(pairs, key=_distance)]


def find_logits(rows: Sequence[ModuleRow], classes: int, root: str = 'head') -> Source | None:
    """Find what gives the class scores.

    Args:
        rows: Of :func:`kd_plugins.preflight.modules.list_modules`.
        classes: Number of classes.
        root: Path of the head.

    Returns:
        The one layer of the head that gives scores (N, classes); the head itself where several layers do, as in
        DeiT's distilled models, which average two, or none, as in VGG, whose backbone ends in its classifier. None
        where no module gives them.
    """
    found = [
        Source(row.name, output, call if len(row) > 1 else None)
        for row in rows
        if row.name == root or row.name.startswith(f'{root}.')
        for call, output in enumerate(row.outputs)
        if output == (_batch_of(rows), classes)
    ]
    containers = {name for source in found for name in _containers(source.path, '')}
    layers = [source for source in found if source.path not in containers and source.path != root]
    itself = [source for source in found if source.path == root]
    if len(layers) == 1:
        return layers[0]
    return itself[-1] if itself else None


def find_class_maps(rows: Sequence[ModuleRow], root: str = 'decode_head') -> Source | None:
    """Find what gives a segmentor's class maps, before they are enlarged to the image.

    Args:
        rows: Of :func:`kd_plugins.preflight.modules.list_modules`.
        root: Path of the head.

    Returns:
        The layer that mmseg's heads call ``conv_seg``, in a cascade of heads the last one's; None where none ran.
    """
    found = [row for row in rows if row.name.startswith(f'{root}.') and row.name.endswith('.conv_seg') and len(row)]
    if not found:
        return None
    last = max(found, key=lambda row: row.finished[-1])
    return Source(last.name, last.outputs[-1], len(last) - 1 if len(last) > 1 else None)


def _batch_of(rows: Sequence[ModuleRow]) -> int:
    """Number of images, which the first map has too."""
    return next((shape[0] for row in rows for shape in row.outputs if isinstance(shape, tuple) and shape), 0)


def _tensors(output: Shape) -> Iterator[tuple[int | None, tuple[int, ...]]]:
    """The shapes in an output, each with its place in the tuple where it is one."""
    if isinstance(output, tuple):
        yield None, output
    elif isinstance(output, list):
        yield from ((index, shape) for index, shape in enumerate(output) if isinstance(shape, tuple))


def _containers(name: str, root: str) -> Iterator[str]:
    """The paths around a path, below ``root``."""
    parent = name.rpartition('.')[0]
    while parent and parent != root:
        yield parent
        parent = parent.rpartition('.')[0]


def _stride(shape: tuple[int, ...], image: tuple[int, int], batch: int) -> int | None:
    """Stride of a feature; 0 for one of a single position, None for anything else."""
    height, width = image
    if len(shape) not in (3, 4) or shape[0] != batch:
        return None
    if len(shape) == 4:
        positions = shape[2] * shape[3]
        # less than one position apart from the form of the image: not channels last, nor attention over windows
        if abs(shape[2] / height - shape[3] / width) * min(image) >= 1:
            return None
    else:
        counts = [shape[1] - extra_tokens for extra_tokens in range(MOST_EXTRA_TOKENS + 1)]
        positions = next((count for count in counts if count > 0 and math.isqrt(count) ** 2 == count), 0)
    if not 1 < positions <= height * width:
        return 0 if positions == 1 else None
    return 2 ** round(math.log2(height * width / positions) / 2)


def _distance(pair: tuple[Stage, Stage]) -> tuple[float, int]:
    student, teacher = pair
    return abs(math.log2(student.stride / teacher.stride)), -student.stride * teacher.stride
