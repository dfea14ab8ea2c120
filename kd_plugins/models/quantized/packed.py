"""The file that ships a quantised model: each weight in as many bits as it has, what is not quantised as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from kd_plugins.checkpoint import describe_misfit
from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.models.quantized.bit_packing import pack_bits, packed_size, unpack_bits

# key of the file's metadata
HEADER = 'kd_plugins.packed'
RANGE = '.range'
# brackets within each other in the header of a packed file: 3, and whatever names of layers have
DEEPEST = 20
# how often a BatchNorm was trained is of no use where it is not trained
NOT_SHIPPED = '.num_batches_tracked'
# Brevitas' least range of a channel
MIN_RANGE = 1e-10


def quantized_layers(model: nn.Module) -> dict[str, Any]:
    """The layers of a model whose weights are quantised, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if getattr(getattr(module, 'weight_quant', None), 'is_quant_enabled', False)
    }


def save_packed(model: nn.Module, path: str | Path) -> None:
    """Write a model with quantised layers to a file, for :func:`load_packed`.

    The file is one of safetensors. A quantised weight is a row of bytes under its own name, ``bits`` bits to a weight,
    the lowest bit first, and for each output channel its largest magnitude under ``<name>.range``, in float32. With
    m = 2^(bits - 1) - 1, a number u stands for the weight (u - m) * range / m; of 1 bit, for (2 u - 1) * range. Bits
    and shapes are JSON under ``kd_plugins.packed`` in the file's metadata. All else is as in a ``state_dict``.

    Args:
        model: A model with layers of this package's :func:`quant_conv2d` or :class:`QuantLinearClsHead`.
        path: The file, which is replaced.

    Raises:
        UserError: No layer is quantised, or one is in another way.
    """
    if not quantized_layers(model):
        raise UserError(
            Fault('model', 'a model with quantised layers', f'a {type(model).__name__} without', 'save its state_dict')
        )
    Path(path).write_bytes(_packed(model))


def shipped_bytes(model: nn.Module) -> int:
    """Size of the file that ships a model, in bytes; nothing is written.

    Args:
        model: The model alone, without a teacher.

    Returns:
        The size of the file of :func:`save_packed` where layers are quantised, else that of a ``state_dict`` in
        safetensors.

    Raises:
        UserError: A layer is quantised in another way than :func:`save_packed` knows.
    """
    if quantized_layers(model):
        return len(_packed(model))
    # a tensor of several names counts once for each, as when it is exported
    return len(safetensors.torch.save({name: _plain(tensor) for name, tensor in model.state_dict().items()}))


def load_packed(model: nn.Module, path: str | Path, where: str = 'CHECKPOINT') -> None:
    """Put the weights of a packed file into a model; it then predicts what the saved one did.

    Args:
        model: A model of the same config; only its weights are changed.
        path: The file.
        where: What named the file, for messages.

    Raises:
        UserError: The file cannot be read, or is not one of this model. The model may be changed in part then.
    """
    model.load_state_dict(read_packed(model, path, where))


def read_packed(model: nn.Module, path: str | Path, where: str = 'CHECKPOINT') -> dict[str, Tensor]:
    """The ``state_dict`` that a packed file stands for.

    Args:
        model: As for :func:`load_packed`; weights that fit are loaded into it.
        path: The file.
        where: What named the file, for messages.

    Returns:
        Tensors by name, with weights as they are after quantisation, on the CPU.

    Raises:
        UserError: The file cannot be read, or is not one of this model.
    """
    tensors, described = _read(path, where)
    layers = quantized_layers(model)
    state: dict[str, Tensor] = {}
    for name, layer in layers.items():
        weight, bits = f'{name}.weight', _bits_of(layer)
        expected, got = dict(bits=bits, shape=list(layer.weight.shape)), described.get(weight)
        if got != expected:
            wrong = f'no packed {weight}' if got is None else f'{weight} of {str(got)[:100]}, not {expected}'
            raise _not_this(model, path, where, wrong)
        fault = _unfit(tensors, weight, bits, layer.weight)
        if fault:
            raise _not_this(model, path, where, fault)
        state[weight] = _unpacked(tensors.pop(weight), tensors.pop(weight + RANGE), bits, layer.weight)
    left = [name for name in described if name.removesuffix('.weight') not in layers]
    if left:
        raise _not_this(model, path, where, f'{left[0]}, which this model has not or not quantised')
    state.update(tensors)
    for name, tensor in model.state_dict().items():
        if name.endswith(NOT_SHIPPED):
            state.setdefault(name, tensor.detach().cpu())
    misfit = describe_misfit(model, state)
    if misfit:
        raise _not_this(model, path, where, misfit)
    return state


def _packed(model: nn.Module) -> bytes:
    tensors = {name: _plain(t) for name, t in model.state_dict().items() if not name.endswith(NOT_SHIPPED)}
    described = {}
    for name, layer in quantized_layers(model).items():
        weight, bits = f'{name}.weight', _bits_of(layer)
        with torch.no_grad():
            quantised = layer.quant_weight()
        levels, span = quantised.int().cpu(), _range_of(tensors[weight])
        if not torch.equal(_dequantised(levels, span, bits), quantised.value.detach().cpu()):
            raise UserError(
                Fault(
                    name,
                    'a layer that is quantised as kd_plugins.QuantConv2d and kd_plugins.QuantLinearClsHead are',
                    f'a {type(layer).__name__} whose weights are rounded otherwise',
                    'use those, or ship it as .onnx',
                )
            )
        unsigned = (levels + 1) // 2 if bits == 1 else levels + _top(bits)
        tensors[weight] = torch.from_numpy(pack_bits(unsigned.reshape(-1).numpy(), bits))
        tensors[weight + RANGE] = span.reshape(-1)
        described[weight] = dict(bits=bits, shape=list(levels.shape))
    return safetensors.torch.save(tensors, {HEADER: json.dumps(described)})


def _read(path: str | Path, where: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a packed file and what its header says of the packed ones."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(Fault(where, 'a packed file', f'{path}, which does not exist', 'correct the path'))
    try:
        with safetensors.safe_open(path, framework='pt') as file:
            header = (file.metadata() or {}).get(HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = None if header is None else _header_of(header)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(
            Fault(
                where, 'a packed file', f'{path}, which cannot be read ({describe_error(error, 160)})', 'copy it again'
            )
        ) from error
    if not isinstance(described, Mapping):
        raise UserError(
            Fault(
                where,
                'a file that tools/export_student.py wrote as .packed.safetensors',
                f'{path}, which says nothing of packed weights',
                'give that file',
            )
        )
    return tensors, dict(described)


def _header_of(text: str) -> Any:
    """The JSON of a header, unless it is nested so deeply that reading it could overflow the stack."""
    depth = 0
    for letter in text:
        depth += (letter in '[{') - (letter in ']}')
        if depth > DEEPEST:
            raise ValueError(f'more than {DEEPEST} brackets within each other')
    return json.loads(text)


def _unfit(tensors: Mapping[str, Tensor], name: str, bits: int, weight: Tensor) -> str:
    """What is wrong with a packed weight; empty where nothing is."""
    packed, span = tensors.get(name), tensors.get(name + RANGE)
    if packed is None or span is None:
        return f'no {name}' if packed is None else f'no {name + RANGE}'
    size = packed_size(weight.numel(), bits)
    if packed.dtype != torch.uint8 or packed.shape != (size,):
        return f'{name} of {packed.dtype} {tuple(packed.shape)}, not uint8 ({size},)'
    if span.dtype != torch.float32 or span.shape != weight.shape[:1]:
        return f'{name + RANGE} of {span.dtype} {tuple(span.shape)}, not float32 ({len(weight)},)'
    if not bool((torch.isfinite(span) & (span > 0)).all()):
        return f'{name + RANGE} with values that are not above 0'
    if bits > 1 and int(unpack_bits(packed.numpy(), bits, weight.numel()).max(initial=0)) > 2 * _top(bits):
        return f'{name} with a number beyond {bits} bits'
    return ''


def _unpacked(packed: Tensor, span: Tensor, bits: int, weight: Tensor) -> Tensor:
    unsigned = torch.from_numpy(unpack_bits(packed.numpy(), bits, weight.numel())).reshape(weight.shape).int()
    span = span.reshape(-1, *[1] * (weight.dim() - 1))
    levels = 2 * unsigned - 1 if bits == 1 else unsigned - _top(bits)
    # the largest magnitude itself, not what it is after a division: the layer works its scale out of that
    return torch.where(levels.abs() == _top(bits), levels.sign() * span, _dequantised(levels, span, bits))


def _dequantised(levels: Tensor, span: Tensor, bits: int) -> Tensor:
    return levels * (span / _top(bits))


def _range_of(weight: Tensor) -> Tensor:
    """The largest magnitude of each output channel, (C, 1, …)."""
    return weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True).clamp_min(MIN_RANGE)


def _top(bits: int) -> int:
    """The highest level."""
    return max(2 ** (bits - 1) - 1, 1)


def _bits_of(layer: Any) -> int:
    return int(layer.weight_quant.bit_width())


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone(memory_format=torch.contiguous_format)


def _not_this(model: nn.Module, path: str | Path, where: str, got: str) -> UserError:
    return UserError(
        Fault(where, f'the packed file of this {type(model).__name__}', f'{path}, with {got}', 'is it another model?')
    )
