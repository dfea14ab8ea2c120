"""Export the student of a distillation: ``python tools/export_student.py CONFIG CHECKPOINT OUT``."""

import sys

from mmengine.config import DictAction

from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.engine.config import load_config
from kd_plugins.engine.export import ExportedStudent, export_student


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the command line, export, and say how to load what was written."""
    parser = ArgumentParser(description='Write the student of a distillation as a plain checkpoint and its config')
    parser.add_argument('config', help='path of the config of the distillation')
    parser.add_argument('checkpoint', help='path of a checkpoint of its training')
    parser.add_argument('out', help='file to write, .pth or .safetensors; the config is written beside it')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='values to change in the config'
    )
    arguments = parser.parse_args(argv)

    config = load_config(arguments.config, arguments.cfg_options)
    print(describe(export_student(config, arguments.checkpoint, arguments.out)))


def describe(student: ExportedStudent) -> str:
    """What was written and the lines of Python that load it."""
    megabytes = student.weights.stat().st_size / 1e6
    lines = [
        f'{student.weights}: {student.parameters:,} parameters, {megabytes:.2f} MB',
        f'{student.config}: the config of the student alone',
    ]
    if student.needs_kd_plugins:
        lines.append('The architecture of this student is of kd_plugins, which must be installed where it is loaded.')
    if not student.has_pipeline:
        lines.append(
            'CONFIG has no test pipeline that could go along: the exported config does not say how to prepare images.'
        )
    if student.scope != 'mmpretrain':
        lines.append(f'It is a model of {student.scope}: load both files there.')
    elif student.weights.suffix == '.safetensors':
        lines += [
            'Load it with',
            '  from mmpretrain import get_model; from safetensors.torch import load_model',
            f'  model = get_model({str(student.config)!r}); load_model(model, {str(student.weights)!r})',
        ]
    else:
        lines += [
            'Load it with',
            '  from mmpretrain import get_model',
            f'  model = get_model({str(student.config)!r}, pretrained={str(student.weights)!r})',
        ]
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
