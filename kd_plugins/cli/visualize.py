"""Draw what a distillation compares: ``kd visualize CONFIG CHECKPOINT IMAGE… -o DIR``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.utils import track_iter_progress

from kd_plugins.engine.command_line import ArgumentParser, KeyValueAction, command
from kd_plugins.engine.config import load_config
from kd_plugins.errors import Fault, UserError
from kd_plugins.visualize import draw_grid, load_algorithm, meetings_on, prepare_image


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line, run both models on each image, and draw a PNG for each."""
    parser = ArgumentParser(
        prog=prog,
        description="For each loss of a distillation, draw the student's and the teacher's records and their "
        'difference',
    )
    parser.add_argument('config', help='path of the config of the training')
    parser.add_argument('checkpoint', help='path of a checkpoint of its training')
    parser.add_argument('images', nargs='+', metavar='image', help='image files')
    parser.add_argument('-o', '--out', required=True, type=Path, help='folder for the pictures, one for each image')
    parser.add_argument(
        '--cfg-options', nargs='+', action=KeyValueAction, metavar='KEY=VALUE', help='values to change in the config'
    )
    arguments = parser.parse_args(argv)

    config = load_config(arguments.config, arguments.cfg_options)
    images = [prepare_image(config, path) for path in arguments.images]
    with writing(arguments.out):
        check_target(arguments.out, [image.name for image in images])
    algorithm = load_algorithm(config, arguments.checkpoint)
    with writing(arguments.out):
        arguments.out.mkdir(exist_ok=True)
    unseen: dict[str, str] = {}
    for image in track_iter_progress(images, file=sys.stderr):
        meetings, reasons, size = meetings_on(algorithm, image)
        unseen |= reasons
        if not meetings:
            got = '; '.join(f'{name}: {why}' for name, why in unseen.items())
            raise UserError(Fault('model.distiller', 'records that can be drawn', got, 'record modules'))
        with writing(arguments.out):
            draw_grid(image, meetings, size, arguments.out / f'{image.name}.png')
    print()
    for name, why in unseen.items():
        print(f'{name} is not drawn: {why}')
    for image in images:
        print(arguments.out / f'{image.name}.png')


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Refuse a folder in which nothing can be written."""
    try:
        yield
    except OSError as error:
        raise UserError(Fault('-o', 'a folder that can be written', f'{out} ({error})', 'choose another')) from error


def check_target(out: Path, names: list[str]) -> None:
    """Refuse a folder that cannot be made, and images that would be drawn into one file."""
    if (out.exists() and not out.is_dir()) or not out.parent.is_dir():
        raise UserError(Fault('-o', 'a folder, or the name of a new one', str(out), 'choose another'))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(Fault('IMAGE', 'images of different names', f'{twice[0]} twice', 'draw them into two folders'))
