"""Networks that mmpretrain lacks."""

from kd_plugins.models.plain_cnn import PlainCNN

__all__ = ['PlainCNN']
