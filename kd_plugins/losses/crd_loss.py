"""Contrastive representation distillation: one sample's embeddings are told from those of other samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_positive, require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS


@MODELS.register_module()
class CRDLoss(nn.Module):
    r"""Asks of a student's and a teacher's embedding whether they come from the same image.

    Two banks remember an embedding of every image of the training set, one the student's and one the teacher's. Each
    embedding of the batch meets the other side's bank at 1 + K places: its own image, and K others. With the
    embedding f, the remembered v and a constant Z that the first batch sets so that P is 1 / n on average:

    .. math::
        P = \exp(v \cdot f / \tau) / Z, \qquad D = \frac{P}{P + K / n + \epsilon}, \qquad
        \bar D = \frac{K / n}{P + K / n + \epsilon}

    .. math:: L = -\frac{w}{N} \sum_\text{sides} \sum_i \Big( \log D_{i0} + \sum_{k=1}^{K} \log \bar D_{ik} \Big)

    Afterwards the bank's rows of the batch move towards its embeddings, v = m v + (1 - m) f, scaled to length 1.

    Gradient flows into the embeddings of both sides, so that both connectors are trained; the banks and Z get none.

    The banks are buffers of 2 * sample_n * dim_out numbers: 51 MB in float32 by default, 1.3 GB for ImageNet, on the
    device and in every checkpoint. A step takes N * sample_n scores and a copy of the banks besides. In distributed
    training each process has banks of its own, which see the images of that process only. A checkpoint to resume from
    holds those of every process, its ``state_dict`` and the best checkpoint those of the first. Leave
    ``broadcast_buffers=False``, mmengine's default, as True would overwrite the others with the first one's at each
    step.

    Paper: Contrastive Representation Distillation, https://arxiv.org/abs/1910.10699

    Args:
        loss_weight: Weight w of the loss.
        temperature: Temperature tau, above 0; the lower, the more the closest of the other images count.
        neg_num: Number K of other images that are drawn for each image of the batch, uniformly and with replacement,
            where the samples do not bring their own as those of ``CRDDataset`` do.
        sample_n: Number n of images of the training set.
        dim_out: Number of elements of an embedding; the ``dim_out`` of ``CRDConnector``.
        momentum: Share m of a bank's row that stays when it moves, in [0, 1).
        eps: Summand of the denominators, above 0.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 0.07,
        neg_num: int = 16384,
        sample_n: int = 50000,
        dim_out: int = 128,
        momentum: float = 0.5,
        eps: float = 1e-7,
    ) -> None:
        super().__init__()
        require_positive('temperature', temperature, '0.07 is the usual one')
        for name, value in (('neg_num', neg_num), ('sample_n', sample_n), ('dim_out', dim_out)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(Fault(name, 'a whole number above 0', repr(value), 'choose a larger one'))
        if not 0 <= momentum < 1:
            raise UserError(Fault('momentum', 'a number in [0, 1)', repr(momentum), '0.5 is the usual one'))
        require_positive('eps', eps, '1e-7 is the usual one')
        self.loss_weight = loss_weight
        self.neg_num = neg_num
        self.sample_n = sample_n
        self.dim_out = dim_out
        self.eps = eps
        self.contrast = ContrastMemory(dim_out, sample_n, neg_num, temperature, momentum)

    @in_float32
    def forward(self, s_feats: torch.Tensor, t_feats: torch.Tensor, data_samples: Sequence[Any]) -> torch.Tensor:
        """Compare a batch of embeddings with the banks, then move the banks.

        Args:
            s_feats: Student's embeddings, (N, dim_out), of length 1 as ``CRDConnector`` makes them.
            t_feats: Teacher's embeddings, of the same shape.
            data_samples: N data elements of mmengine with ``sample_idx``, the image's place in the training set in
                [0, sample_n), and maybe ``contrast_sample_idxs``, (1 + K), the places to compare with, of which the
                first is a positive one.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes do not fit, or the data samples have no such indices. Indices out of range are found
                on the CPU only, as on a GPU the check would wait for the device.
        """
        check_same_shape(s_feats=s_feats, t_feats=t_feats)
        embeddings = f'embeddings (N, {self.dim_out})'
        require_rank('s_feats', s_feats, [2], embeddings, 'add a CRDConnector on both sides')
        if s_feats.shape[1] != self.dim_out:
            advice = 'give CRDLoss and both of its CRDConnectors the same dim_out'
            raise UserError(Fault('s_feats', embeddings, str(tuple(s_feats.shape)), advice))
        samples, candidates = self._places(data_samples, s_feats)
        if s_feats.numel() == 0:
            return (s_feats.sum() + t_feats.sum()) * 0

        student, teacher = self.contrast(s_feats, t_feats, candidates)
        loss = self._told_apart(student) + self._told_apart(teacher)
        self.contrast.remember(s_feats, t_feats, samples)
        return self.loss_weight * loss

    def _told_apart(self, log_probability: torch.Tensor) -> torch.Tensor:
        """Negative log likelihood of telling the first of (N, 1 + K) from the others; in logarithms, to stay finite."""
        noise = (log_probability.shape[1] - 1) / self.sample_n
        odds = log_probability - math.log(noise + self.eps)
        same = F.logsigmoid(odds[:, 0])
        others = F.logsigmoid(-odds[:, 1:]) + math.log(noise / (noise + self.eps))
        return -(same.sum() + others.sum()) / len(odds)

    def _places(self, data_samples: Sequence[Any], feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Places of the batch in the banks, (N), and those that it is compared with, (N, 1 + K)."""
        count = len(feature)
        if not isinstance(data_samples, (list, tuple)) or len(data_samples) != count:
            got = f'{len(data_samples)}' if isinstance(data_samples, (list, tuple)) else type(data_samples).__name__
            advice = "record the student's: dict(type='ModuleInputs', source='') with data_idx=1"
            raise UserError(Fault('data_samples', f'a list of {count} data samples', got, advice))
        if count == 0:
            empty = torch.empty(0, dtype=torch.long, device=feature.device)
            return empty, empty
        samples = self._indices(data_samples, 'sample_idx', 0).to(feature.device, non_blocking=True)
        if any('contrast_sample_idxs' in sample for sample in data_samples):
            candidates = self._indices(data_samples, 'contrast_sample_idxs', 1)
            return samples, candidates.to(feature.device, non_blocking=True)
        candidates = torch.randint(self.sample_n, (count, 1 + self.neg_num), device=feature.device)
        candidates[:, 0] = samples
        return samples, candidates

    def _indices(self, data_samples: Sequence[Any], name: str, rank: int) -> torch.Tensor:
        where = f'data_samples.{name}'
        expected = ('a whole number', 'a vector of 2 or more whole numbers, equally many,')[rank] + ' in each sample'
        advice = "end the pipeline in dict(type='kd_plugins.PackCRDClsInputs')"
        missing = [place for place, sample in enumerate(data_samples) if name not in sample]
        if missing:
            raise UserError(Fault(where, expected, f'none in sample {missing[0]} of the batch', advice))
        values = [torch.as_tensor(sample.get(name)) for sample in data_samples]
        for value in values:
            short = value.dim() == 1 and len(value) < 2
            if value.dim() != rank or value.shape != values[0].shape or value.is_floating_point() or short:
                raise UserError(Fault(where, expected, f'{tuple(value.shape)} of {value.dtype}', advice))
        indices = torch.stack(values).long()
        if indices.device.type == 'cpu' and not 0 <= int(indices.min()) <= int(indices.max()) < self.sample_n:
            got = f'{int(indices.min())} to {int(indices.max())}'
            expected = f'indices in [0, {self.sample_n})'
            raise UserError(Fault(where, expected, got, 'give sample_n the number of images of the training set'))
        return indices


class ContrastMemory(nn.Module):
    """The two banks of :class:`CRDLoss`, under the names that they have in MMRazor's checkpoints.

    ``memory_v1`` is the student's bank and ``memory_v2`` the teacher's, (n, D) both. ``params`` are K, tau, Z of the
    student's embeddings, Z of the teacher's, and the momentum. The two Z count, and are negative until the first batch
    sets them; the others are what the arguments say, whatever a checkpoint holds.
    """

    params: torch.Tensor
    memory_v1: torch.Tensor
    memory_v2: torch.Tensor

    def __init__(self, dim_out: int, sample_n: int, neg_num: int, temperature: float, momentum: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.momentum = momentum
        self.register_buffer('params', torch.tensor([neg_num, temperature, -1, -1, momentum]))
        bound = math.sqrt(3 / dim_out)  # rows of length 1 on average
        for name in ('memory_v1', 'memory_v2'):
            self.register_buffer(name, torch.rand(sample_n, dim_out).mul_(2 * bound).sub_(bound))

    def forward(
        self, s_feats: torch.Tensor, t_feats: torch.Tensor, candidates: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logarithm of P of the student's and of the teacher's embeddings, (N, D), at the candidates: (N, 1 + K)."""
        student = self._scores(s_feats, self.memory_v2, candidates)
        teacher = self._scores(t_feats, self.memory_v1, candidates)
        return student - self._log_constant(2, student), teacher - self._log_constant(3, teacher)

    @torch.no_grad()
    def remember(self, s_feats: torch.Tensor, t_feats: torch.Tensor, samples: torch.Tensor) -> None:
        """Move the rows of the samples, (N), towards the embeddings."""
        for bank, feature in ((self.memory_v1, s_feats), (self.memory_v2, t_feats)):
            moved = torch.lerp(feature, bank[samples].to(feature.dtype), self.momentum)
            bank.index_copy_(0, samples, F.normalize(moved).to(bank.dtype))

    def _scores(self, feature: torch.Tensor, bank: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        # all scores, then a choice: (N, n) is less than the rows of all candidates, (N, 1 + K, D);
        # of a copy, as the bank moves before backward reads it
        scores = feature @ bank.to(feature.dtype, copy=True).T  # (N, D) -> (N, n)
        return scores.gather(1, candidates) / self.temperature  # (N, n) -> (N, 1 + K)

    @torch.no_grad()
    def _log_constant(self, place: int, scores: torch.Tensor) -> torch.Tensor:
        """Logarithm of Z; chosen on the device, which nothing waits for."""
        log_mean = scores.logsumexp((0, 1)) - math.log(scores.numel())
        limits = torch.finfo(self.params.dtype)
        first = (log_mean.exp() * len(self.memory_v1)).clamp(limits.tiny, limits.max)
        constant = torch.where(self.params[place] < 0, first, self.params[place])
        self.params[place] = constant
        return constant.log()
