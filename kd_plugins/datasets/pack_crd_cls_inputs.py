"""Last step of a pipeline, which packs an image for contrastive representation distillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.datasets import PackInputs

from kd_plugins.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackCRDClsInputs(PackInputs):
    """Packs an image as mmpretrain's ``PackInputs`` does, with what ``CRDLoss`` needs as data of its data sample.

    That is ``sample_idx``, the image's place in the data set, and the ``contrast_sample_idxs`` of ``CRDDataset`` where
    there are any: tensors of int64, which travel to the device with the data sample.

    Args:
        meta_keys: What the data sample keeps about the image besides.
    """

    def __init__(self, meta_keys: Sequence[str] = PackInputs.DEFAULT_META_KEYS) -> None:
        super().__init__(meta_keys=tuple(key for key in meta_keys if key != 'sample_idx'))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack an image.

        Args:
            results: What the pipeline made: ``img``, (H, W, C) or (H, W), ``gt_label`` and ``sample_idx``.

        Returns:
            ``inputs``, (C, H, W), and ``data_samples``, mmpretrain's data sample.
        """
        packed = super().transform(results)
        for name in ('sample_idx', 'contrast_sample_idxs'):
            if name in results:
                value = torch.as_tensor(results[name], dtype=torch.long)
                packed['data_samples'].set_field(value, name)
        return packed
