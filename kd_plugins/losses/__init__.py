"""Distill losses: tensors in, scalar out."""

from kd_plugins.losses.ab_loss import ABLoss
from kd_plugins.losses.activation_loss import ActivationLoss
from kd_plugins.losses.angle_wise_rkd import AngleWiseRKD
from kd_plugins.losses.at_loss import ATLoss
from kd_plugins.losses.binary_kl_divergence import BinaryKLDivergence
from kd_plugins.losses.channel_wise_divergence import ChannelWiseDivergence
from kd_plugins.losses.crd_loss import CRDLoss
from kd_plugins.losses.cross_entropy_loss import CrossEntropyLoss
from kd_plugins.losses.dist_loss import DISTLoss
from kd_plugins.losses.distance_wise_rkd import DistanceWiseRKD
from kd_plugins.losses.dkd_loss import DKDLoss
from kd_plugins.losses.factor_transfer_loss import FTLoss
from kd_plugins.losses.fbkd_loss import FBKDLoss
from kd_plugins.losses.information_entropy_loss import InformationEntropyLoss
from kd_plugins.losses.kd_soft_ce_loss import KDSoftCELoss
from kd_plugins.losses.kl_divergence import KLDivergence
from kd_plugins.losses.l1_loss import L1Loss
from kd_plugins.losses.l2_loss import L2Loss
from kd_plugins.losses.mgd_loss import MGDLoss
from kd_plugins.losses.ofd_loss import OFDLoss
from kd_plugins.losses.onehot_like_loss import OnehotLikeLoss
from kd_plugins.losses.pkd_loss import PKDLoss
from kd_plugins.losses.softened_cross_entropy import SoftenedCrossEntropy
from kd_plugins.losses.wsld import WSLD

__all__ = [
    'WSLD',
    'ABLoss',
    'ATLoss',
    'ActivationLoss',
    'AngleWiseRKD',
    'BinaryKLDivergence',
    'CRDLoss',
    'ChannelWiseDivergence',
    'CrossEntropyLoss',
    'DISTLoss',
    'DKDLoss',
    'DistanceWiseRKD',
    'FBKDLoss',
    'FTLoss',
    'InformationEntropyLoss',
    'KDSoftCELoss',
    'KLDivergence',
    'L1Loss',
    'L2Loss',
    'MGDLoss',
    'OFDLoss',
    'OnehotLikeLoss',
    'PKDLoss',
    'SoftenedCrossEntropy',
]
