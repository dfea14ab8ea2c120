"""The libraries whose models a new config can pair, and what their parts are called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Library:
    """What a library calls the parts of its models.

    Attributes:
        package: By its import name.
        kind: What its models are, for people.
        part: What only the config of such a model has.
        forward: Method of a model that needs images alone, and runs all that is compared.
        example: A config that it ships.
    """

    package: str
    kind: str
    part: str
    forward: str
    example: str


LIBRARIES = {
    library.package: library
    for library in (
        Library('mmpretrain', 'an image classifier', 'head', 'forward', 'resnet/resnet18_8xb32_in1k.py'),
        Library(
            'mmdet',
            'a detector with a feature pyramid',
            'neck',
            'extract_feat',
            'retinanet/retinanet_r50_fpn_1x_coco.py',
        ),
        Library(
            'mmseg', 'a segmentor', 'decode_head', 'forward', 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
        ),
    )
}
