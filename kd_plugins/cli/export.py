"""Export the student of a distillation: ``kd export CONFIG CHECKPOINT OUT``."""

from kd_plugins.engine.command_line import ArgumentParser, KeyValueAction, command
from kd_plugins.engine.config import load_config
from kd_plugins.engine.export import PACKED_SUFFIX, ExportedStudent, export_student


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line, export, and say how to load what was written."""
    parser = ArgumentParser(prog=prog, description='Write the student of a distillation alone, and its config')
    parser.add_argument('config', help='path of the config of the training')
    parser.add_argument('checkpoint', help='path of a checkpoint of its training')
    parser.add_argument(
        'out',
        help='file to write: .pth or .safetensors, .packed.safetensors with quantised weights in few bits, or .onnx;'
        ' the config is written beside it',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=KeyValueAction, metavar='KEY=VALUE', help='values to change in the config'
    )
    parser.add_argument(
        '--softmax', action='store_true', help='of .onnx: give scores, the softmax of the logits, instead of logits'
    )
    parser.add_argument(
        '--with-preprocessing',
        action='store_true',
        help='of .onnx: take pixels, uint8 from 0 to 255; data_preprocessor is in the file',
    )
    arguments = parser.parse_args(argv)

    config = load_config(arguments.config, arguments.cfg_options)
    student = export_student(
        config,
        arguments.checkpoint,
        arguments.out,
        softmax=arguments.softmax,
        with_preprocessing=arguments.with_preprocessing,
    )
    print(describe(student))


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
    return '\n'.join([*lines, *_how_to_load(student)])


def _how_to_load(student: ExportedStudent) -> list[str]:
    weights, config = str(student.weights), str(student.config)
    if student.interface is not None:
        return [
            student.interface.describe(config),
            'Load it with',
            f'  import onnxruntime; model = onnxruntime.InferenceSession({weights!r})',
        ]
    if student.scope != 'mmpretrain':
        return [f'It is a model of {student.scope}: load both files there.']
    if weights.endswith(PACKED_SUFFIX):
        return [
            'Load it with',
            '  from mmpretrain import get_model; from kd_plugins.models.quantized import load_packed',
            f'  model = get_model({config!r}); load_packed(model, {weights!r})',
        ]
    if weights.endswith('.safetensors'):
        return [
            'Load it with',
            '  from mmpretrain import get_model; from safetensors.torch import load_model',
            f'  model = get_model({config!r}); load_model(model, {weights!r})',
        ]
    return [
        'Load it with',
        '  from mmpretrain import get_model',
        f'  model = get_model({config!r}, pretrained={weights!r})',
    ]
