"""Connector that lays the tokens of a transformer out as a map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule

from kd_plugins.connectors.size import checked_size
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS


@MODELS.register_module()
class TokensToMapConnector(BaseModule):
    """Lays tokens out as a map, row by row; it has no weights.

    The tokens that stand for no place in the image, such as a class token, come first and are dropped.

    Args:
        size: Height and width of the map, in tokens.
        extra_tokens: How many leading tokens to drop: 1 for a class token, 2 for one with DeiT's distillation token.

    Raises:
        UserError: ``size`` is not two whole numbers above 0, or ``extra_tokens`` is not a whole number from 0 on.

    Example:
        >>> connector = TokensToMapConnector((14, 14), extra_tokens=1)
        >>> connector(torch.rand(2, 197, 768)).shape
        torch.Size([2, 768, 14, 14])
    """

    def __init__(self, size: Sequence[int], extra_tokens: int = 0) -> None:
        super().__init__()
        if not isinstance(extra_tokens, int) or extra_tokens < 0:
            raise UserError(Fault('extra_tokens', 'a whole number from 0 on', repr(extra_tokens), 'usual are 0 to 2'))
        self.size = checked_size(size)
        self.extra_tokens = extra_tokens

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Lay tokens out.

        Args:
            tokens: (N, extra_tokens + h * w, C).

        Returns:
            (N, C, h, w).

        Raises:
            UserError: ``tokens`` has another rank or length.
        """
        height, width = self.size
        length = self.extra_tokens + height * width
        if tokens.dim() != 3 or tokens.shape[1] != length:
            raise UserError(
                Fault(
                    'tokens',
                    f'tokens (N, {length}, C), {self.extra_tokens} extra and {height} x {width}',
                    str(tuple(tokens.shape)),
                    'correct size and extra_tokens; they depend on the size of the images',
                )
            )
        places = tokens[:, self.extra_tokens :]  # (N, extra + hw, C) -> (N, hw, C)
        return places.transpose(1, 2).unflatten(2, self.size)  # (N, hw, C) -> (N, C, h, w)

    def extra_repr(self) -> str:
        """Size and extra tokens, for the printed model."""
        return f'size={self.size}, extra_tokens={self.extra_tokens}'
