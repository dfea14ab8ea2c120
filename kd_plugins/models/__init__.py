"""Networks that mmpretrain lacks."""

from kd_plugins.models.deit_cls_head import DeiTClsHead
from kd_plugins.models.generators import DAFLGenerator, ZSKTGenerator
from kd_plugins.models.plain_cnn import PlainCNN
from kd_plugins.models.regnet_y import RegNetY

__all__ = ['DAFLGenerator', 'DeiTClsHead', 'PlainCNN', 'RegNetY', 'ZSKTGenerator']
