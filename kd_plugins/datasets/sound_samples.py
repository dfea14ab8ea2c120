"""Data set whose bad files are named and counted, and replaced where that is allowed."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile

from kd_plugins.datasets.bad_files import BadFileError, BadFiles
from kd_plugins.datasets.dataset_wrapper import DatasetWrapper
from kd_plugins.datasets.image_files import problem_at_end, problem_of_file
from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.randomness import own_randomness
from kd_plugins.registry import DATASETS

# samples that are drawn in the place of one
DRAWN = 100
# modules that read image files, besides the transforms that load them
READERS = ('PIL.Image', 'PIL.ImageFile')
# what they raise over a bad file
READING_ERRORS = (AssertionError, EOFError, OSError, RuntimeError, SyntaxError, ValueError)


@DATASETS.register_module()
class SoundSamples(DatasetWrapper):
    """Wraps a data set of which some files may be missing, empty, damaged or cut off.

    What the data set raises is about a file if the file itself cannot be decoded, or if it was raised while a file was
    being loaded; whatever else it raises passes. JPEG and PNG files on this machine are also looked at for their end,
    for a decoder may fill up with grey what is missing.

    In the place of a bad sample another one is drawn with NumPy's global random state, of the same view where the data
    set has views. Whatever else is asked of this data set, the wrapped one answers.

    Args:
        dataset: The data set that is wrapped, or its config.
        replace: Bad files of a run that may be replaced, from 0 on. A file counts once, however often it is met.
        journal: File of the bad files that workers and processes share; None for each to count its own.
        since: Bytes of it that are of earlier runs.

    Attributes:
        bad_files: Those that were found.

    Raises:
        UserError: ``replace`` is out of its range, or the data set has no samples.

    Example:
        >>> class Files:
        ...     def __len__(self):
        ...         return 2
        ...     def get_data_info(self, index):
        ...         return dict(img_path=f'missing_{index}.jpg')
        ...     def __getitem__(self, index):
        ...         return open('missing_0.jpg') if index == 0 else 'sample 1'
        >>> np.random.seed(0)
        >>> samples = SoundSamples(Files(), replace=1)
        >>> samples[0], samples.bad_files.read()
        ('sample 1', {'missing_0.jpg': 'does not exist'})
    """

    replace: int
    bad_files: BadFiles
    tells_path: bool

    def __init__(self, dataset: Any, replace: int = 0, journal: str | None = None, since: int = 0) -> None:
        if isinstance(replace, bool) or not isinstance(replace, int) or replace < 0:
            raise UserError(Fault('replace', 'a whole number from 0 on', repr(replace), 'write 0 for none'))
        super().__init__(dataset, replace=replace, bad_files=BadFiles(journal, since), tells_path=True)

    def full_init(self) -> None:
        """Read the wrapped data set, and refuse one without samples, of which some samplers would draw for ever."""
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()
        if not len(self.dataset):
            raise UserError(Fault('', 'samples', 'none', 'look at data_root, data_prefix and ann_file'))

    def __getitem__(self, index: Any) -> Any:
        for _ in range(DRAWN):
            try:
                item = self.dataset[index]
            except Exception as error:
                file, problem = self._explain(error, index)
                if not problem:
                    raise
                self._count(file, problem, error)
            else:
                file = _path_in(item) or self._path_of(index)
                problem = problem_at_end(file) if file else ''
                if not problem:
                    return item
                self._count(file, problem)
            index = self._another(index)
        problem = f'{problem}, and what was drawn in its place, {DRAWN} times over, is bad too'
        raise BadFileError.about(file, problem, len(self.bad_files.read()), self.replace)

    def _count(self, file: str, problem: str, cause: Exception | None = None) -> None:
        """Note a bad file, and raise if it is one too many."""
        found = self.bad_files.add(file, problem)
        if found > self.replace:
            raise BadFileError.about(file, problem, found, self.replace) from cause

    def _another(self, index: Any) -> int:
        """Another sample; of several views of the data, one of the same view."""
        size = len(self.dataset)
        return int(index) // size * size + int(np.random.randint(size))

    def _explain(self, error: Exception, index: Any) -> tuple[str, str]:
        """The file of a sample, and what is wrong with it; no problem where the error is not about it."""
        if isinstance(error, (UserError, BadFileError)):
            return '', ''
        reading = _raised_while_reading(error)
        path = self._path_of(index) or (getattr(error, 'filename', None) if isinstance(error, OSError) else None)
        name = path if isinstance(path, str) and path else self._name(index)
        problem = problem_of_file(path) if isinstance(path, str) and '://' not in path else ''
        if problem == 'does not exist' and not (reading or isinstance(error, OSError) or 'None' in str(error)):
            # a name in an archive, perhaps
            problem = ''
        if not problem and reading and isinstance(error, READING_ERRORS):
            problem = f'cannot be loaded ({describe_error(error)})'
        return name, problem

    def _name(self, index: Any) -> str:
        return self._path_of(index) or f'sample {int(index)}'

    def _path_of(self, index: Any) -> str:
        """Path of the file of a sample, as far as the data set knows it."""
        if not self.tells_path or not hasattr(self.dataset, 'get_data_info'):
            return ''
        try:
            # a data set may draw what it tells, as CRDDataset does
            with own_randomness():
                info = self.dataset.get_data_info(index)
        except Exception:
            return ''
        path = info.get('img_path') if isinstance(info, dict) else None
        if isinstance(path, str):
            return path
        # samples that are no files, which are asked once
        self.tells_path = False
        return ''


def _path_in(item: Any) -> str:
    """Path of the file that a sample says it was loaded from."""
    sample = item.get('data_samples') if isinstance(item, dict) else None
    path = getattr(sample, 'img_path', None)
    return path if isinstance(path, str) else ''


def _raised_while_reading(error: Exception) -> bool:
    """Whether an exception comes from a transform that loads an image, or from Pillow's reading of a file."""
    return any(
        isinstance(frame.f_locals.get('self'), LoadImageFromFile) or frame.f_globals.get('__name__') in READERS
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )
