"""Checkpoints, which are files of strangers: read without running them, and held against the model."""

from kd_plugins.checkpoint.allowed import allow_mmengine_checkpoints
from kd_plugins.checkpoint.download import local_path
from kd_plugins.checkpoint.fit import describe_misfit, load_strictly
from kd_plugins.checkpoint.loaded import LoadedTensors, own_tensors, watching_loads
from kd_plugins.checkpoint.mmengine_loader import guard_downloads
from kd_plugins.checkpoint.newest import Found, newest_whole_checkpoint
from kd_plugins.checkpoint.reading import STUDENT_PREFIX, read_checkpoint, read_weights, weights_of
from kd_plugins.checkpoint.whole import BACKEND, OWN_KEY, WholeFileBackend, remove_unfinished

__all__ = [
    'BACKEND',
    'OWN_KEY',
    'STUDENT_PREFIX',
    'Found',
    'LoadedTensors',
    'WholeFileBackend',
    'allow_mmengine_checkpoints',
    'describe_misfit',
    'guard_downloads',
    'load_strictly',
    'local_path',
    'newest_whole_checkpoint',
    'own_tensors',
    'read_checkpoint',
    'read_weights',
    'remove_unfinished',
    'watching_loads',
    'weights_of',
]
