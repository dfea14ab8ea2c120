"""Data sets that mmpretrain lacks."""

from kd_plugins.datasets.crd_dataset import CRDDataset
from kd_plugins.datasets.digits import Digits
from kd_plugins.datasets.pack_crd_cls_inputs import PackCRDClsInputs

__all__ = ['CRDDataset', 'Digits', 'PackCRDClsInputs']
