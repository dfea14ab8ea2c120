"""Evaluate a checkpoint on the test data of a config: ``python tools/test.py CONFIG CHECKPOINT``."""

import sys

from mmengine.dist import is_main_process

from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.engine.config import add_config_arguments, apply_arguments, load_config
from kd_plugins.engine.launch import test
from kd_plugins.engine.packed_checkpoint import unpacked
from kd_plugins.report.result import numbers_of


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the command line and test."""
    parser = ArgumentParser(description='Evaluate a checkpoint')
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='path of the checkpoint, or of a student packed by tools/export_student.py')
    arguments = parser.parse_args(argv)

    config = load_config(arguments.config, arguments.cfg_options)
    apply_arguments(config, arguments)
    with unpacked(config, arguments.checkpoint) as config.load_from:
        metrics = test(config)
    if is_main_process():
        numbers = numbers_of(metrics)
        for name, value in metrics.items():
            print(f'{name}: {value:.4f}' if name in numbers else f'{name}: {value}')


if __name__ == '__main__':
    sys.exit(main())
