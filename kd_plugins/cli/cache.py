"""Write the teacher's records of the training data to disk: ``kd cache CONFIG``."""

from collections.abc import Callable
from pathlib import Path

from mmengine.dist import is_main_process

from kd_plugins.engine.cache_plan import CacheOptions
from kd_plugins.engine.cache_report import describe_cache, estimate, verify
from kd_plugins.engine.cache_teacher import cache_teacher
from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.engine.config import add_config_arguments, apply_arguments, load_config


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and write, estimate or verify a cache."""
    parser = ArgumentParser(prog=prog, description="Write the teacher's records of the training data to disk")
    add_config_arguments(parser)
    parser.add_argument('--out', type=Path, help='folder of the cache; teacher_cache in the work_dir by default')
    parser.add_argument('--views', type=whole(1), metavar='K', help='augmented views of each sample; 4 by default')
    parser.add_argument('--seed', type=whole(0), help='seed of the views; 0 by default')
    parser.add_argument('--dtype', choices=['float16', 'float32'], default='float16', help='of what is stored')
    parser.add_argument('--top-k', type=whole(1), metavar='K', help='store the K largest classes of logits')
    parser.add_argument('--batch-size', type=whole(1), help='rows at a time; as in training by default')
    parser.add_argument('--estimate', action='store_true', help='print size and time, and write nothing')
    parser.add_argument('--verify', type=whole(1), metavar='N', help='recompute N rows of the cache and compare')
    arguments = parser.parse_args(argv)

    config = load_config(arguments.config, arguments.cfg_options)
    apply_arguments(config, arguments)
    folder = arguments.out or Path(config.work_dir) / 'teacher_cache'
    options = CacheOptions(arguments.views, arguments.seed, arguments.dtype, arguments.top_k, arguments.batch_size)
    if arguments.verify:
        say(verify(config, folder, options, arguments.verify))
    elif arguments.estimate:
        say(estimate(config, folder, options))
    else:
        manifest = cache_teacher(config, folder, options)
        say(describe_cache(manifest, folder))
        say(f'train from it with --cfg-options model.teacher_cache={folder}, or in the config:')
        say(f"model = dict(teacher_cache='{folder}')")


def whole(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number from ``least`` on."""

    def number(text: str) -> int:
        if int(text) < least:
            raise ValueError
        return int(text)

    number.__name__ = f'whole number from {least} on'
    return number


def say(text: str) -> None:
    """Print once, however many processes there are."""
    if is_main_process():
        print(text, flush=True)
