"""Train as a config says: ``kd train CONFIG``."""

import argparse

from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.engine.config import add_config_arguments, apply_arguments, load_config
from kd_plugins.engine.launch import set_training_options, train
from kd_plugins.preflight.precision import HALF_PRECISIONS


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and train."""
    parser = ArgumentParser(prog=prog, description='Train a model as a config says')
    add_config_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='continue from a checkpoint; from the newest one of the work_dir without PATH',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const=True,
        default=False,
        type=_precision,
        metavar='{bf16,fp16}',
        help='train in mixed precision; without a value in float16 with a dynamic loss scale on a GPU, in bfloat16 on '
        'a CPU, unless the config has a dtype',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument('--seed', type=int, help='seed of all random numbers')
    parser.add_argument('--deterministic', action='store_true', help='use deterministic algorithms')
    parser.add_argument('--no-validate', action='store_true', help='leave the validations out that the config has')
    parser.add_argument('--no-pin-memory', action='store_true', help='no pinned memory in any data loader')
    parser.add_argument(
        '--no-persistent-workers', action='store_true', help='new workers of data loaders for each pass over the data'
    )
    arguments = parser.parse_args(argv)

    config = load_config(arguments.config, arguments.cfg_options)
    apply_arguments(config, arguments)
    set_training_options(
        config,
        resume=arguments.resume,
        amp=arguments.amp,
        auto_scale_lr=arguments.auto_scale_lr,
        seed=arguments.seed,
        deterministic=arguments.deterministic,
        validate=not arguments.no_validate,
        pin_memory=not arguments.no_pin_memory,
        persistent_workers=not arguments.no_persistent_workers,
    )
    train(config)


def _precision(text: str) -> str:
    """The value of --amp, which need not have one and may so take what comes after it."""
    if text not in HALF_PRECISIONS:
        message = f'expected bf16 or fp16, got {text!r}; the config goes first: CONFIG --amp'
        raise argparse.ArgumentTypeError(message)
    return text
