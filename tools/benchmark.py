"""What a training step of a distillation costs over the sum of its parts: ``python tools/benchmark.py CONFIG``.

Teacher, student, connectors and losses are timed alone and as one step, in turn, within one process; each round gives a
ratio, and the median of the rounds is the result. Checkpoints are not loaded: weights do not change the cost.
"""

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Callable

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kd_plugins.engine.command_line import command
from kd_plugins.engine.config import load_config
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import build_from_config

FLAGSHIP = 'configs/fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py'


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description='Cost of a distillation step over the sum of its parts')
    parser.add_argument('config', nargs='?', default=FLAGSHIP, help='config of a SingleTeacherDistill')
    parser.add_argument('--batch', type=int, default=16, help='images per step')
    parser.add_argument('--size', type=int, default=224, help='height and width of the images, in pixels')
    parser.add_argument('--rounds', type=int, default=9, help='measured rounds, after one that is not')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    arguments = parser.parse_args(argv)

    config = load_config(arguments.config)
    if 'teacher' not in config.model:
        raise UserError(Fault('CONFIG', 'a distillation with a teacher', arguments.config, f'try {FLAGSHIP}'))
    config.model.teacher_ckpt = None
    config.model.teacher.pretrained = False
    logging.disable(logging.WARNING)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        algorithm = build_from_config(config).to(arguments.device).train()
    parts = make_parts(algorithm, arguments.batch, arguments.size, arguments.device)
    console = Console()
    times = measure(parts, arguments.rounds, arguments.device)
    console.print(table(times, arguments))
    console.print(f'PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.device}')


def make_parts(algorithm: torch.nn.Module, batch: int, size: int, device: str) -> dict[str, Callable[[], None]]:
    """The parts of a step as functions, and the step itself as ``'step'``."""
    from mmpretrain.structures import DataSample

    classes = algorithm.student.head.num_classes
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(index % classes) for index in range(batch)]
    raw = dict(inputs=list(images), data_samples=samples)
    data = algorithm.data_preprocessor(raw, True)
    distiller, student = algorithm.distiller, algorithm.student

    with distiller.teacher_recorders, distiller.student_recorders:
        algorithm.frozen_teacher(**data, mode='loss')
        student(**data, mode='loss')
    records = distiller.pop_records()
    picked = {
        (spec.name, argument): (record, record.pick(records[record.from_student][record.recorder]).detach())
        for spec in distiller.spec.mappings
        for argument, record in spec.arguments.items()
    }
    connected = {key: distiller.connect(record, value).detach() for key, (record, value) in picked.items()}

    def optimiser(module: torch.nn.Module) -> OptimWrapper:
        return OptimWrapper(torch.optim.SGD(module.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4))

    whole, of_student, of_connectors = map(optimiser, (algorithm, student, distiller.connectors))

    def student_step() -> None:
        loss, _ = student.parse_losses(student(**data, mode='loss'))
        of_student.update_params(loss)

    def connector_step() -> None:
        outputs = [
            distiller.connect(record, value.requires_grad_(True))
            for record, value in picked.values()
            if record.connector
        ]
        torch.autograd.backward(outputs, list(map(torch.ones_like, outputs)))
        of_connectors.step()
        of_connectors.zero_grad()

    def loss_step(name: str) -> Callable[[], None]:
        def run() -> None:
            arguments = {
                argument: connected[name, argument].requires_grad_(record.from_student)
                for (loss, argument), (record, _) in picked.items()
                if loss == name
            }
            distiller.distill_losses[name](**arguments).backward()

        return run

    parts: dict[str, Callable[[], None]] = {
        'preprocessing': lambda: algorithm.data_preprocessor(raw, True),
        'teacher forward': lambda: algorithm.frozen_teacher(**data, mode='loss'),
        'student step': student_step,
    }
    if any(record.connector for record, _ in picked.values()):
        parts['connectors'] = connector_step
    parts |= {spec.name: loss_step(spec.name) for spec in distiller.spec.mappings}
    return {**parts, 'step': lambda: algorithm.train_step(raw, whole)}


def measure(parts: dict[str, Callable[[], None]], rounds: int, device: str) -> dict[str, list[float]]:
    """Time every part once a round, in turn.

    Returns:
        Seconds by part, one for each round; the first round is left out.
    """
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in track(range(rounds + 1), description='rounds', transient=True):
        for name, part in parts.items():
            synchronize(device)
            start = time.perf_counter()
            part()
            synchronize(device)
            times[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}


def synchronize(device: str) -> None:
    """Wait for the GPU, where there is one."""
    if device.startswith('cuda'):
        torch.cuda.synchronize()


def table(times: dict[str, list[float]], arguments: argparse.Namespace) -> Table:
    """The parts, their sum, the step, and the ratio."""
    steps = times['step']
    parts = [name for name in times if name != 'step']
    sums = [sum(round_) for round_ in zip(*(times[name] for name in parts), strict=True)]
    ratios = [step / total for step, total in zip(steps, sums, strict=True)]
    result = Table(title=f'{arguments.batch} images of {arguments.size} px, median of {arguments.rounds} rounds')
    result.add_column('part')
    for heading in ('median, ms', 'min', 'max'):
        result.add_column(heading, justify='right')
    for name, values in [*((name, times[name]) for name in parts), ('sum of the parts', sums), ('step', steps)]:
        cells = [f'{1e3 * value:.1f}' for value in (statistics.median(values), min(values), max(values))]
        result.add_row(name, *cells, end_section=name in (parts[-1], 'step'))
    result.add_row(
        'step / sum of the parts', *(f'{value:.3f}' for value in (statistics.median(ratios), min(ratios), max(ratios)))
    )
    return result


if __name__ == '__main__':
    sys.exit(main())
