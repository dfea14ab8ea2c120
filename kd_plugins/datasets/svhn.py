"""Street View House Numbers, the cropped digits, from the files of its authors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from kd_plugins.errors import Fault, UserError, closest, describe_error
from kd_plugins.registry import DATASETS


@DATASETS.register_module()
class SVHN(BaseDataset):
    """The cropped digits of Street View House Numbers (32x32, ten classes).

    ``train`` has 73,257 images, ``test`` 26,032 and ``extra`` 531,131 easier ones; there is no split for validation:
    take the last images of ``train``, which keep the digits of a house together, by ``indices=-6000``, and the others
    by ``indices=67257``. A pipeline gets each image as ``img``, a uint8 array of shape (32, 32, 3) in RGB, as
    mmpretrain's CIFAR-10 gives its images, so leave out ``to_rgb``; the class as ``gt_label``, the digit itself.

    The files ``train_32x32.mat``, ``test_32x32.mat`` and ``extra_32x32.mat`` come from
    http://ufldl.stanford.edu/housenumbers/; nothing is downloaded.

    Paper: Reading Digits in Natural Images with Unsupervised Feature Learning,
    http://ufldl.stanford.edu/housenumbers/nips2011_housenumbers.pdf

    Args:
        data_root: Folder of the files.
        split: ``'train'``, ``'test'`` or ``'extra'``.
        **kwargs: Other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline`` and ``indices``.

    Raises:
        UserError: The split is unknown, its file is not there, or is another one than that of the cropped digits.
    """

    METAINFO = {'classes': tuple('0123456789')}
    SPLITS = ('train', 'test', 'extra')
    SOURCE = 'http://ufldl.stanford.edu/housenumbers/'

    def __init__(self, data_root: str = 'data/svhn', split: str = 'train', **kwargs: Any) -> None:
        if split not in self.SPLITS:
            expected = f'one of {", ".join(map(repr, self.SPLITS))}'
            raise UserError(Fault('split', expected, repr(split), closest(str(split), self.SPLITS)))
        self.split = split
        self.file = self.file_of(data_root, split)
        if not self.file.is_file():
            advice = (
                f'download {self.file.name} from {self.SOURCE} (Format 2: Cropped Digits), or give the folder it is in'
            )
            raise UserError(Fault('data_root', f'a folder with {self.file.name}', f'no {self.file}', advice))
        self._check_layout()
        super().__init__(ann_file='', data_root=data_root, **kwargs)

    @classmethod
    def file_of(cls, data_root: str | Path, split: str) -> Path:
        """The file of a split."""
        return Path(data_root).expanduser() / f'{split}_32x32.mat'

    def load_data_list(self) -> list[dict[str, Any]]:
        """Load the images and labels of the split, in the order of the file."""
        # with SciPy, which only this data set needs
        from kd_plugins.datasets.matlab_file import UNREADABLE, read_variables

        try:
            content = read_variables(self.file, ('X', 'y'))
        except UNREADABLE as error:
            raise self._unreadable(error) from error
        labels = content['y'].reshape(-1)
        if not np.isin(labels, range(1, 11)).all():
            raise self._other('labels other than 1 to 10, where 10 is the digit 0')
        images = np.ascontiguousarray(content['X'].transpose(3, 0, 1, 2))  # (32, 32, 3, N) -> (N, 32, 32, 3)
        return [{'img': image, 'gt_label': int(label) % 10} for image, label in zip(images, labels, strict=True)]

    def extra_repr(self) -> list[str]:
        """What ``repr`` says about this data set beyond its size and classes."""
        return [f'Split: \t{self.split}']

    def _check_layout(self) -> None:
        """Look at the names, shapes and types in the file without reading the arrays."""
        from kd_plugins.datasets.matlab_file import UNREADABLE, read_layout

        try:
            layout = read_layout(self.file)
        except UNREADABLE as error:
            raise self._unreadable(error) from error
        if not {'X', 'y'} <= set(layout):
            raise self._other(f'the variables {", ".join(sorted(layout)) or "none"}')
        (images, kind), (labels, _) = layout['X'], layout['y']
        if len(images) != 4 or images[:3] != (32, 32, 3) or kind != 'uint8':
            raise self._other(f'X of {kind} {tuple(images)}')
        if labels != (images[3], 1):
            raise self._other(f'y {tuple(labels)} for {images[3]} images')

    def _unreadable(self, error: Exception) -> UserError:
        # version 7.3 is HDF5, the format of the full numbers
        return self._other(f'one that cannot be read ({describe_error(error, 120)})')

    def _other(self, got: str) -> UserError:
        expected = 'a MATLAB file (version 5) of cropped digits: X (32, 32, 3, N) of uint8 and y (N, 1)'
        advice = f'download {self.file.name} again from {self.SOURCE} (Format 2: Cropped Digits)'
        return UserError(Fault(str(self.file), expected, got, advice))
