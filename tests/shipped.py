"""The configs that we ship."""

from pathlib import Path

CONFIGS = Path(__file__).parents[1] / 'configs'
_WHOLE = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
# of detectors and segmentors, which mmcv's compiled operators are needed for: tests/dense runs them on small images
DENSE = [path for path in _WHOLE if any(library in path.read_text() for library in ("'mmdet::", "'mmseg::"))]
CLASSIFIERS = [path for path in _WHOLE if path not in DENSE]
