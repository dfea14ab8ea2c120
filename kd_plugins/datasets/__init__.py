"""Data sets that mmpretrain lacks."""

from kd_plugins.datasets.crd_dataset import CRDDataset
from kd_plugins.datasets.digits import Digits
from kd_plugins.datasets.pack_crd_cls_inputs import PackCRDClsInputs
from kd_plugins.datasets.replayed_views import ReplayedViews
from kd_plugins.datasets.resumable_batch_sampler import ResumableBatchSampler
from kd_plugins.datasets.resumable_sampler import ResumableSampler
from kd_plugins.datasets.seeded_samples import SeededSamples
from kd_plugins.datasets.sound_samples import SoundSamples
from kd_plugins.datasets.svhn import SVHN
from kd_plugins.datasets.view_sampler import ViewSampler

__all__ = [
    'SVHN',
    'CRDDataset',
    'Digits',
    'PackCRDClsInputs',
    'ReplayedViews',
    'ResumableBatchSampler',
    'ResumableSampler',
    'SeededSamples',
    'SoundSamples',
    'ViewSampler',
]
