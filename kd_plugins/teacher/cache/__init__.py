"""The teacher cache: a teacher's records on disk, aligned with the augmentation of each sample."""

from kd_plugins.teacher.cache.coding import decode, encode, recode
from kd_plugins.teacher.cache.fingerprint import (
    describe_plainly,
    differences,
    digest_of_tensors,
    digests_of_frozen,
    shorten,
    teacher_digests,
    teacher_fingerprint,
)
from kd_plugins.teacher.cache.manifest import MANIFEST, Array, Manifest, Part, read_manifest, write_manifest
from kd_plugins.teacher.cache.records import Use, uses_of
from kd_plugins.teacher.cache.refusals import refusals
from kd_plugins.teacher.cache.shards import ShardFiles
from kd_plugins.teacher.cache.teacher_cache import TeacherCache

__all__ = [
    'MANIFEST',
    'Array',
    'Manifest',
    'Part',
    'ShardFiles',
    'TeacherCache',
    'Use',
    'decode',
    'describe_plainly',
    'differences',
    'digest_of_tensors',
    'digests_of_frozen',
    'encode',
    'read_manifest',
    'recode',
    'refusals',
    'shorten',
    'teacher_digests',
    'teacher_fingerprint',
    'uses_of',
    'write_manifest',
]
