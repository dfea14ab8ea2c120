"""mmengine's preprocessing of images, written as mmpretrain's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import ConfigDict

from kd_plugins.compat.names import MMPRETRAIN

SHARED = ('mean', 'std', 'pad_size_divisor', 'pad_value')


def preprocessor_for_mmpretrain(written: Any) -> ConfigDict | None:
    """The ``ClsDataPreprocessor`` that gives the same images as an ``ImgDataPreprocessor``.

    mmpretrain's models do not build with mmengine's own: they add arguments that it does not take.

    Args:
        written: The value of ``data_preprocessor``.

    Returns:
        The config, which names its library; None where ``written`` is not that of an ``ImgDataPreprocessor``.
    """
    kind = written.get('type') if isinstance(written, Mapping) else None
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    if name.rpartition('.')[2] != 'ImgDataPreprocessor':
        return None
    kept = {key: written[key] for key in SHARED if key in written}
    # either way round, the channels are reversed
    reverse = bool(written.get('bgr_to_rgb') or written.get('rgb_to_bgr'))
    # without the None, the student would put its own in
    return ConfigDict(type=f'{MMPRETRAIN}.ClsDataPreprocessor', **kept, to_rgb=reverse, batch_augments=None)
