"""What ``tools/test.py`` does besides printing metrics, refused before the work where it cannot be done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.runner import Runner

from kd_plugins.arguments import require_writable, require_writable_folder
from kd_plugins.build import FALLBACK_SCOPE
from kd_plugins.engine.evaluation_output import METRIC_SUFFIXES, PREDICTION_SUFFIXES, PredictionsFile
from kd_plugins.engine.prediction_images_hook import PredictionImagesHook
from kd_plugins.errors import Fault, UserError


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of a test.

    Attributes:
        out: File for the metrics or the predictions; None for none.
        out_item: ``'metrics'`` or ``'pred'``, which is meant where ``out`` is given alone.
        tta: Average the predictions of several views of each image.
        show_dir: Folder for pictures of the predictions; None for none.
        interval: Draw every N-th image.
    """

    out: Path | None = None
    out_item: str | None = None
    tta: bool = False
    show_dir: Path | None = None
    interval: int | None = None

    @property
    def metrics_file(self) -> Path | None:
        """Where the metrics go."""
        return self.out if self.out_item == 'metrics' else None

    @property
    def predictions_file(self) -> Path | None:
        """Where the predictions go."""
        return None if self.out_item == 'metrics' else self.out

    def check(self) -> None:
        """Refuse what cannot be done, before anything is.

        Raises:
            UserError: With everything that is wrong.
        """
        if self.out is None and self.out_item is not None:
            raise UserError(Fault('--out-item', '--out FILE, which it is about', 'none', 'add --out FILE'))
        if self.show_dir is None and self.interval is not None:
            raise UserError(Fault('--interval', '--show-dir DIR, which it is about', 'none', 'add --show-dir DIR'))
        if self.interval is not None and self.interval < 1:
            raise UserError(Fault('--interval', 'a number of images, at least 1', str(self.interval), 'choose another'))
        if self.out is not None:
            self._check_file(self.out)
        if self.show_dir is not None:
            require_writable_folder('--show-dir', self.show_dir)

    def _check_file(self, out: Path) -> None:
        item = self.out_item or 'pred'
        suffixes = METRIC_SUFFIXES if item == 'metrics' else PREDICTION_SUFFIXES
        if out.suffix not in suffixes:
            advice = f'write for instance {out.with_suffix(suffixes[0])}'
            if item == 'pred' and out.suffix in METRIC_SUFFIXES:
                advice += ', or add --out-item metrics'
            expected = f'a file for {item} that ends in {" or ".join(suffixes)}'
            raise UserError(Fault('--out', expected, str(out), advice))
        require_writable('--out', out)

    def complete(self, config: Any) -> None:
        """Add the visualizer that pictures are drawn with, where a config has none.

        Args:
            config: The whole config, which is changed.
        """
        if self.show_dir is not None and not config.get('visualizer') and config.default_scope == FALLBACK_SCOPE:
            config.visualizer = ConfigDict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])

    def attach(self, runner: Runner, loads_files: bool) -> None:
        """Have a runner write predictions and draw pictures.

        Args:
            runner: Before its test, with its test loop built.
            loads_files: Whether the pipeline loads images from files, as BGR.

        Raises:
            UserError: Its visualizer draws no classifications.
        """
        if self.predictions_file is not None:
            runner.test_evaluator.metrics.append(PredictionsFile(self.predictions_file))
        if self.show_dir is None:
            return
        if not hasattr(runner.visualizer, 'visualize_cls'):
            expected = 'a visualizer of classifications, as UniversalVisualizer is'
            advice = (
                "write visualizer=dict(type='UniversalVisualizer'); detectors and segmentors have hooks of their own"
            )
            raise UserError(Fault('--show-dir', expected, f'a {type(runner.visualizer).__name__}', advice))
        hook = PredictionImagesHook(self.show_dir, self.interval or 1, bgr=loads_files, several_views=self.tta)
        runner.register_hook(hook, priority='LOWEST')
