"""Evaluate a checkpoint on the test data of a config: ``kd test CONFIG CHECKPOINT``."""

from pathlib import Path

from mmengine.dist import is_main_process

from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.engine.config import add_config_arguments, apply_arguments, load_config
from kd_plugins.engine.evaluation_options import EvaluationOptions
from kd_plugins.engine.launch import test
from kd_plugins.engine.packed_checkpoint import unpacked
from kd_plugins.report.result import numbers_of


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and test."""
    parser = ArgumentParser(prog=prog, description='Evaluate a checkpoint')
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='path of the checkpoint, or of a student packed by tools/export_student.py')
    parser.add_argument(
        '--out', type=Path, metavar='FILE', help='write the predictions, .pkl, or with --out-item metrics'
    )
    parser.add_argument(
        '--out-item',
        choices=['pred', 'metrics'],
        help='what --out is for: pred, the default, or metrics (.json, .yaml)',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='merge the predictions of several views: tta_model and tta_pipeline of the config, or an image and its '
        'mirror image',
    )
    parser.add_argument('--show-dir', type=Path, metavar='DIR', help='draw the images with what is predicted')
    parser.add_argument('--interval', type=int, metavar='N', help='draw every N-th image')
    arguments = parser.parse_args(argv)
    options = EvaluationOptions(
        arguments.out, arguments.out_item, arguments.tta, arguments.show_dir, arguments.interval
    )
    options.check()

    config = load_config(arguments.config, arguments.cfg_options)
    apply_arguments(config, arguments)
    with unpacked(config, arguments.checkpoint) as config.load_from:
        metrics = test(config, options)
    if is_main_process():
        numbers = numbers_of(metrics)
        for name, value in metrics.items():
            print(f'{name}: {value:.4f}' if name in numbers else f'{name}: {value}')
