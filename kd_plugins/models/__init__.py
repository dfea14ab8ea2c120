"""Networks that mmpretrain lacks."""

from kd_plugins.models.deit_cls_head import DeiTClsHead
from kd_plugins.models.densenet_bc import DenseNetBC
from kd_plugins.models.generators import DAFLGenerator, ZSKTGenerator
from kd_plugins.models.lenet5 import LeNet5
from kd_plugins.models.plain_cnn import PlainCNN
from kd_plugins.models.quantized import QuantLinearClsHead, quant_conv2d, quant_relu
from kd_plugins.models.regnet_y import RegNetY

__all__ = [
    'DAFLGenerator',
    'DeiTClsHead',
    'DenseNetBC',
    'LeNet5',
    'PlainCNN',
    'QuantLinearClsHead',
    'RegNetY',
    'ZSKTGenerator',
    'quant_conv2d',
    'quant_relu',
]
