"""Feature-based knowledge distillation: attention-guided features and non-local relations."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from kd_plugins.arguments import require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

STUDENT_PARTS = ('spatial_mask', 'channel_mask', 'channel_pool', 'spatial_pool', 'relation', 'feature')
TEACHER_PARTS = ('spatial_mask', 'channel_mask', 'spatial_pool', 'relation', 'feature')


@MODELS.register_module()
class FBKDLoss(nn.Module):
    r"""Four L2 distances of what the FBKD connectors make of a student's and a teacher's map.

    With the teacher's map T, the student's adapted map S, the average M of both sides' masks over positions, the
    averages over positions (p) and over channels (c), and the non-local relations R, the student's all adapted:

    .. math::
        L = w \big( w_m \lVert \sqrt{M} \odot (T - S) \rVert_2 + w_c \lVert T^p - S^p \rVert_2
        + w_s \lVert T^c - S^c \rVert_2 + w_n \lVert R^T - R^S \rVert_2 \big)

    Each norm is that of the whole batch, which nothing divides. As in the authors' code, the masks over channels do
    not count.

    Gradient flows into both sides, so that the teacher's non-local block is trained; the masks get none.

    Paper: Improve Object Detection with Feature-based Knowledge Distillation: Towards Accurate and Efficient
    Detectors, https://openreview.net/forum?id=uKhGRvM8QNH

    Args:
        mask_l2_weight: Weight w_m of the masked maps.
        channel_weight: Weight w_c of the averages over positions.
        spatial_weight: Weight w_s of the averages over channels.
        nonloacl_weight: Weight w_n of the relations, under the name that it has in MMRazor.
        loss_weight: Weight w of the loss.

    Example:
        >>> mask, pool, feature = torch.ones(2, 1, 3, 3), torch.ones(2, 8), torch.ones(2, 8, 3, 3)
        >>> student = (mask, pool[..., None, None], pool, mask, feature, feature)
        >>> teacher = (mask, pool[..., None, None], mask, feature, feature)
        >>> FBKDLoss()(student, teacher)
        tensor(0.)
    """

    def __init__(
        self,
        mask_l2_weight: float = 7e-5,
        channel_weight: float = 4e-3,
        spatial_weight: float = 4e-3,
        nonloacl_weight: float = 7e-5,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.mask_l2_weight = mask_l2_weight
        self.channel_weight = channel_weight
        self.spatial_weight = spatial_weight
        self.nonloacl_weight = nonloacl_weight
        self.loss_weight = loss_weight

    def forward(self, s_input: tuple[torch.Tensor, ...], t_input: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Compare two maps.

        Args:
            s_input: What ``FBKDStudentConnector`` returns: the masks over positions (N, 1, H, W) and over channels
                (N, C, 1, 1), and, adapted, the averages over positions (N, C) and over channels (N, 1, H, W), the
                relations (N, C, H, W) and the map (N, C, H, W).
            t_input: What ``FBKDTeacherConnector`` returns: the masks, the average over channels, the relations and the
                map.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: Not what these connectors return, or the shapes differ.
        """
        student = _named('s_input', s_input, STUDENT_PARTS, 'FBKDStudentConnector')
        teacher = _named('t_input', t_input, TEACHER_PARTS, 'FBKDTeacherConnector')
        check_same_shape(s_input=student['feature'], t_input=teacher['feature'])
        require_rank('t_input', teacher['feature'], [4], 'a map (N, C, H, W)', 'record maps on both sides')
        shapes = _shapes(teacher['feature'])
        for side, parts in (('s_input', student), ('t_input', teacher)):
            for name, part in parts.items():
                if tuple(part.shape) != shapes[name]:
                    advice = 'record stages of the same shape on both sides'
                    raise UserError(Fault(f'{side} {name}', str(shapes[name]), str(tuple(part.shape)), advice))
        return self._distances(
            student['spatial_mask'],
            teacher['spatial_mask'],
            *(student[name] for name in STUDENT_PARTS[2:]),
            *(teacher[name] for name in TEACHER_PARTS[2:]),
        )

    @in_float32
    def _distances(
        self,
        s_mask: torch.Tensor,
        t_mask: torch.Tensor,
        s_channel_pool: torch.Tensor,
        s_spatial_pool: torch.Tensor,
        s_relation: torch.Tensor,
        s_feature: torch.Tensor,
        t_spatial_pool: torch.Tensor,
        t_relation: torch.Tensor,
        t_feature: torch.Tensor,
    ) -> torch.Tensor:
        t_channel_pool = t_feature.mean(dim=(2, 3))  # (N, C, H, W) -> (N, C)
        mask = (s_mask + t_mask).detach() / 2
        # norms, not roots of sums, whose gradient is infinite where both sides are equal
        norm = torch.linalg.vector_norm
        loss = self.mask_l2_weight * norm((t_feature - s_feature) * mask.sqrt())
        loss = loss + self.channel_weight * norm(t_channel_pool - s_channel_pool)
        loss = loss + self.spatial_weight * norm(t_spatial_pool - s_spatial_pool)
        loss = loss + self.nonloacl_weight * norm(t_relation - s_relation)
        return self.loss_weight * loss


def _named(side: str, parts: Any, names: tuple[str, ...], connector: str) -> dict[str, torch.Tensor]:
    tensors = isinstance(parts, (tuple, list)) and all(isinstance(part, torch.Tensor) for part in parts)
    if not tensors or len(parts) != len(names):
        got = f'{len(parts)}' if isinstance(parts, (tuple, list)) else f'a {type(parts).__name__}'
        expected = f'the {len(names)} tensors of a {connector}'
        raise UserError(Fault(side, expected, got, f"connect this side with dict(type='{connector}', in_channels=…)"))
    return dict(zip(names, parts, strict=True))


def _shapes(feature: torch.Tensor) -> dict[str, tuple[int, ...]]:
    count, channels, height, width = feature.shape
    return {
        'spatial_mask': (count, 1, height, width),
        'channel_mask': (count, channels, 1, 1),
        'channel_pool': (count, channels),
        'spatial_pool': (count, 1, height, width),
        'relation': (count, channels, height, width),
        'feature': (count, channels, height, width),
    }
