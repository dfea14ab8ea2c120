"""Which connectors make two records equal in shape, and how many channels a connector needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from kd_plugins.build.component import parameters_of
from kd_plugins.errors import Fault, UserError

Shape = tuple[int, ...]
Configs = list[dict[str, Any]]

IN_NAMES = ('in_channel', 'in_channels', 'in_features', 'dim_in', 'student_channels')
OUT_NAMES = ('out_channel', 'out_channels', 'out_features', 'dim_out', 'teacher_channels')
# a class token, and DeiT's distillation token
MOST_EXTRA_TOKENS = 2
ADVICE_ON_VOLUMES = (
    'frames, heights or widths differ: record stages of the same strides, or bring the volumes to one size with '
    "dict(type='TorchFunctionalConnector', function_name='adaptive_avg_pool3d', func_args=dict(output_size=(…, …, …)))"
)


def choose_connectors(student: Shape, teacher: Shape, image: tuple[int, int] | None) -> tuple[Configs, Configs]:
    """Choose connectors that make a student's and a teacher's record equal in shape.

    Everything with weights is on the student's side, where it is trained; the teacher's side gets at most a
    ``TokensToMapConnector``. Tokens that meet a map, or tokens of another number, become a map and lose their class
    token; tokens of the same number keep it.

    Args:
        student: Shape of the student's record: (N, C), tokens (N, L, C), a map (N, C, H, W) or a volume
            (N, C, T, H, W).
        teacher: Shape of the teacher's record, likewise.
        image: Height and width of the images, in pixels, which the grid of the tokens follows; None for square ones.

    Returns:
        The configs of the student's side and those of the teacher's, each to be passed in sequence; empty where
        nothing is needed.

    Raises:
        UserError: No connectors can make the two meet; ``where`` is empty.

    Example:
        >>> choose_connectors((2, 256, 14, 14), (2, 1024, 14, 14), None)
        ([{'type': 'kd_plugins.ConvModuleConnector', 'in_channel': 256, 'out_channel': 1024, 'act_cfg': None}], [])
    """
    student, teacher = tuple(student), tuple(teacher)
    if student == teacher:
        return [], []
    ranks = {len(student), len(teacher)}
    if not (ranks <= {3, 4} or ranks in ({2}, {5})):
        raise _refusal(student, teacher, _advice_on_ranks(ranks))
    if student[0] != teacher[0]:
        advice = (
            'the batch sizes differ: both models must see the same batch; window attention counts its windows as a '
            'batch: record the block around it'
        )
        raise _refusal(student, teacher, advice)
    if ranks == {5}:
        if student[2:] != teacher[2:]:
            raise _refusal(student, teacher, ADVICE_ON_VOLUMES)
        return [{**_convolution(student, teacher), 'conv_cfg': dict(type='Conv3d')}], []
    if ranks == {2} or (ranks == {3} and student[1] == teacher[1]):
        return [_linear(student[-1], teacher[-1])], []
    layouts = []
    for shape in (student, teacher):
        layout = _as_map(shape, image or (1, 1))
        if layout is None:
            raise _refusal(student, teacher, _advice_on_tokens(shape[1], image))
        layouts.append(layout)
    (student_side, student_map), (teacher_side, teacher_map) = layouts
    return [*student_side, *_between_maps(student_map, teacher_map)], teacher_side


def channels_of(shape: Shape) -> int:
    """Number of channels of a record.

    Args:
        shape: (N, C), tokens (N, L, C), a map (N, C, H, W) or a volume (N, C, D, H, W).

    Raises:
        UserError: The shape has another rank.
    """
    if not 2 <= len(shape) <= 5:
        raise UserError(
            Fault('', 'a record of rank 2 to 5', str(tuple(shape)), 'write the channels of its connector yourself')
        )
    return shape[-1] if len(shape) == 3 else shape[1]


def missing_channels(component: Callable[..., Any], arguments: Mapping[str, Any]) -> list[str]:
    """Names of the channel counts that a connector requires and does not get.

    Args:
        component: The connector's class, ours or a user's.
        arguments: What the config gives to its ``__init__``.
    """
    parameters, _ = parameters_of(component)
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    return [name for name in required if name in IN_NAMES + OUT_NAMES and name not in arguments]


def complete_channels(
    component: Callable[..., Any], arguments: Mapping[str, Any], in_channels: int, out_channels: int | None
) -> dict[str, Any]:
    """Add the channel counts that a connector requires and does not get, by the names of its parameters.

    Args:
        component: The connector's class, ours or a user's.
        arguments: What the config gives to its ``__init__``; nothing of it is changed.
        in_channels: Channels of the incoming record, for one of ``IN_NAMES``.
        out_channels: Channels of the outgoing one, for one of ``OUT_NAMES``; None where they are unknown and stay away.

    Returns:
        All arguments, the given ones first.
    """
    channels = {**dict.fromkeys(IN_NAMES, in_channels), **dict.fromkeys(OUT_NAMES, out_channels)}
    added = {name: channels[name] for name in missing_channels(component, arguments)}
    return {**arguments, **{name: count for name, count in added.items() if count is not None}}


def _linear(in_channel: int, out_channel: int) -> dict[str, Any]:
    return dict(type='kd_plugins.LinearConnector', in_channel=in_channel, out_channel=out_channel)


def _convolution(student: Shape, teacher: Shape) -> dict[str, Any]:
    # without an activation: it has to reach negative values too
    return dict(type='kd_plugins.ConvModuleConnector', in_channel=student[1], out_channel=teacher[1], act_cfg=None)


def _between_maps(student: Shape, teacher: Shape) -> Configs:
    convert, resize = [], []
    if student[1] != teacher[1]:
        convert = [_convolution(student, teacher)]
    if student[2:] != teacher[2:]:
        resize = [dict(type='kd_plugins.ResizeConnector', size=teacher[2:])]
    # the two commute: the convolution goes where the map is smaller
    shrinks = teacher[2] * teacher[3] < student[2] * student[3]
    return [*resize, *convert] if shrinks else [*convert, *resize]


def _as_map(shape: Shape, image: tuple[int, int]) -> tuple[Configs, Shape] | None:
    """The connectors that make a map of tokens or of a map, and its shape; None for tokens that form no grid."""
    if len(shape) == 4:
        return [], shape
    batch, length, channels = shape
    grid = token_grid(length, image)
    if grid is None:
        return None
    size, extra_tokens = grid
    config = dict(type='kd_plugins.TokensToMapConnector', size=size, extra_tokens=extra_tokens)
    return [config], (batch, channels, *size)


def token_grid(
    length: int, image: tuple[int, int], most_extra_tokens: int = MOST_EXTRA_TOKENS
) -> tuple[tuple[int, int], int] | None:
    """Height and width of the grid of tokens, and the number of extra tokens before it.

    Of the grids that square patches of an image of this shape form, the one whose sides are closest to the image's;
    of those, the one with the fewest extra tokens.
    """
    grids = []
    for extra_tokens in range(most_extra_tokens + 1):
        count = length - extra_tokens
        for height in range(1, count + 1):
            size = (height, count // height)
            if count % height == 0 and has_square_patches(size, image):
                stretch = Fraction(size[0] * image[1], size[1] * image[0])
                grids.append((max(stretch, 1 / stretch), extra_tokens, size))
    if not grids:
        return None
    _, extra_tokens, size = min(grids)
    return size, extra_tokens


def has_square_patches(size: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether one stride in both directions gives this grid, with an incomplete last patch dropped or padded."""
    sides = list(zip(image, size, strict=True))
    # n = floor(side / stride)  <=>  side / (n + 1) < stride <= side / n
    dropped = max(Fraction(side, n + 1) for side, n in sides) < min(Fraction(side, n) for side, n in sides)
    # n = ceil(side / stride)  <=>  side / n <= stride < side / (n - 1)
    bounds = [Fraction(side, n - 1) for side, n in sides if n > 1]
    padded = not bounds or max(Fraction(side, n) for side, n in sides) < min(bounds)
    return dropped or padded


def _refusal(student: Shape, teacher: Shape, advice: str) -> UserError:
    expected = 'two records that connectors can make equal in shape'
    return UserError(Fault('', expected, f'{student} (student) and {teacher} (teacher)', advice))


def _advice_on_ranks(ranks: set[int]) -> str:
    if ranks == {2, 4}:
        return "record the same kind of tensor on both sides: source='neck.gap' gives the vector of a map"
    if ranks == {2, 3}:
        return (
            'record the same kind of tensor on both sides: the vector that a classifier takes in is recorded by '
            "dict(type='ModuleInputs', source='head.fc'), 'head.layers.head' in a vision transformer"
        )
    return (
        'record vectors (N, C), tokens (N, L, C), maps (N, C, H, W) or volumes (N, C, T, H, W); '
        'choose an element of a tuple with data_idx'
    )


def _advice_on_tokens(length: int, image: tuple[int, int] | None) -> str:
    pixels = 'square images' if image is None else f'images of {image[0]} x {image[1]} pixels'
    return (
        f'{length} tokens are no grid over {pixels} with 0 to {MOST_EXTRA_TOKENS} extra tokens: with another number of '
        "those, write dict(type='kd_plugins.TokensToMapConnector', size=(…, …), extra_tokens=…) yourself"
    )
