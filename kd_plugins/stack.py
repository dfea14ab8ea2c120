"""The families of the stack: upstream's packages, and the maintained forks that keep their import names.

All that the two differ in for the rest of the package is which of them brings a library, and whether it brings mmcv's
compiled operators; ``mmrazor_import.py`` lets mmrazor import beside either.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version

from kd_plugins.errors import Fault, UserError

# a library by the packages that bring it
PACKAGES = {
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv-lite', 'mmcv', 'onedl-mmcv'),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain'),
    'mmdet': ('mmdet', 'onedl-mmdetection'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
    'opencv': (
        'opencv-python',
        'opencv-python-headless',
        'opencv-contrib-python',
        'opencv-contrib-python-headless',
    ),
    'Pillow': ('Pillow', 'Pillow-SIMD'),
}
# libraries whose models need the compiled operators of mmcv
DENSE = ('mmdet', 'mmseg')
BUILD_OPERATORS = 'make install STACK=onedl DENSE=1, which builds them; then use .venv-onedl/bin/python'


def installed_package(library: str) -> tuple[str, str] | None:
    """The package that brings a library here, and its version; None where there is none.

    Args:
        library: By its import name, or the name of its only package.
    """
    for package in PACKAGES.get(library, (library,)):
        try:
            return package, version(package)
        except PackageNotFoundError:
            continue
    return None


def require_operators(library: str | None, where: str) -> None:
    """Make sure that the models of a library can be imported, as far as mmcv's operators are concerned.

    Args:
        library: By its import name; every other one than mmdet and mmseg needs none.
        where: Key path of what asks for it.

    Raises:
        UserError: It is mmdet or mmseg, and is not here, or mmcv has no compiled operators.
    """
    if library not in DENSE:
        return
    lacking = [f'no {library}'] if importlib.util.find_spec(library) is None else []
    if importlib.util.find_spec('mmcv._ext') is None:
        lacking.append(f'{" ".join(installed_package("mmcv") or ("no mmcv",))} without them')
    if lacking:
        expected = f'{library}, and mmcv with its compiled operators'
        raise UserError(Fault(where, expected, ' and '.join(lacking), BUILD_OPERATORS))
