"""What a training step costs, beside plain loops and other libraries: ``python tools/benchmark.py [CONFIG]``.

Every round runs each arm once, in an order of its own, on the same weights and the same batch; results are ratios to
``bare`` within the round. The loops that ours is held against are written out below. Checkpoints are not loaded:
trained weights do not change the cost. docs/performance.md tells more.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

# PyTorch's profiler speaks of GPUs that are not there, and of memory that is older than it
os.environ.setdefault('KINETO_LOG_LEVEL', '99')
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kd_plugins.benchmark.cached import cached_step
from kd_plugins.benchmark.compare import BARE, OURS, Builder, compare_arms, warm_rounds
from kd_plugins.benchmark.ours import our_compiled_step, our_step
from kd_plugins.benchmark.peers import mmrazor_step, modelopt_step, torchdistill_step
from kd_plugins.benchmark.recipe import HintTerm, LogitTerm, Recipe, read_recipe
from kd_plugins.benchmark.report import print_result, write_result
from kd_plugins.benchmark.result import Result
from kd_plugins.benchmark.setting import PRECISIONS, Setting
from kd_plugins.benchmark.split import parts_of_step
from kd_plugins.benchmark.sweep import memory_over_steps, sweep_batch, sweep_losses
from kd_plugins.benchmark.workload import Workload, usual_size
from kd_plugins.engine.command_line import ArgumentParser, KeyValueAction, command
from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.report.machine import describe_machine, installed_versions

FLAGSHIP = 'configs/fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py'


# The loops that ours is held against


class Bare:
    """A training step as one writes it in plain PyTorch, in float32."""

    def __init__(self, work: Workload, recipe: Recipe) -> None:
        self.recipe, self.autocast, self.labels = recipe, contextlib.nullcontext, work.labels()
        self.images, self.normalise = work.batch()['inputs'], work.normalisation()
        self.teacher, self.student = self.prepare_teacher(work.teacher()), work.student()
        self.regressors = nn.ModuleList(hint.regressor for hint in recipe.hints).to(work.setting.device)
        self.optimizer = work.optimizer([*self.student.parameters(), *self.regressors.parameters()])
        # what the modules that the losses name have returned, by their names
        terms = recipe.logits + recipe.hints
        self.from_teacher = tap(self.teacher, [term.teacher for term in terms])
        self.from_student = tap(self.student, [term.student for term in terms])

    def prepare_teacher(self, teacher: nn.Module) -> nn.Module:
        """It comes in eval mode, its weights without gradient."""
        return teacher

    def prepare_images(self) -> torch.Tensor:
        """Images of uint8, (N, 3, H, W), as the models want them."""
        return self.normalise(torch.stack(self.images) if isinstance(self.images, list) else self.images)

    def losses(self, images: torch.Tensor) -> torch.Tensor:
        """Forward both models and compare them."""
        with self.autocast():
            # the teacher ends at its logits; nothing is computed from them
            with torch.no_grad():
                self.teacher(images)
            # the student learns from the labels
            logits = self.student(images)
            hints = [layers(self.from_student[hint.student]) for hint, layers in self.hints()]
        loss = F.cross_entropy(logits.float(), self.labels)
        # and from the teacher's logits
        for term in self.recipe.logits:
            loss = loss + divergence(term, self.from_student[term.student], self.from_teacher[term.teacher])
        # and from the teacher's features
        for term, hint in zip(self.recipe.hints, hints, strict=True):
            loss = loss + distance(term, hint, self.from_teacher[term.teacher])
        return loss

    def hints(self) -> Iterator[tuple[HintTerm, nn.Module]]:
        """Each hint with the layers that bring the student's feature to the teacher's shape."""
        return zip(self.recipe.hints, self.regressors, strict=True)

    def __call__(self) -> torch.Tensor:
        """Take one step; returns its loss."""
        loss = self.losses(self.prepare_images())
        # nothing outlives the step
        self.from_teacher.clear()
        self.from_student.clear()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()


class BareBest(Bare):
    """The same step, optimised by hand: channels last, folded BatchNorms of the teacher, autocast."""

    def __init__(self, work: Workload, recipe: Recipe, compiled: bool = False) -> None:
        super().__init__(work, recipe)
        # convolutions of a CPU and of tensor cores want the channels of a pixel side by side
        self.student.to(memory_format=torch.channels_last)
        self.regressors.to(memory_format=torch.channels_last)
        self.autocast = work.setting.autocast
        # float16 alone has gradients that would vanish; elsewhere this does nothing
        self.scaler = torch.amp.GradScaler(work.setting.device, enabled=work.setting.amp == 'fp16')
        if compiled:
            self.losses = torch.compile(self.losses)

    def prepare_teacher(self, teacher: nn.Module) -> nn.Module:
        """A BatchNorm in eval mode is a scale and a shift, which the convolution before it can do."""
        return fold(teacher).to(memory_format=torch.channels_last)

    def prepare_images(self) -> torch.Tensor:
        """The same images in the order of channels last."""
        return super().prepare_images().contiguous(memory_format=torch.channels_last)

    def __call__(self) -> torch.Tensor:
        """Take one step; returns its loss."""
        loss = self.losses(self.prepare_images())
        self.from_teacher.clear()
        self.from_student.clear()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return loss.detach()


def student_only(work: Workload) -> Callable[[], torch.Tensor]:
    """The student's own step with the best settings: what is left when the teacher costs nothing."""
    student = work.student().to(memory_format=torch.channels_last)
    student.data_preprocessor = work.preprocessor()
    optimizer, raw, setting = work.optimizer(student.parameters()), work.batch(), work.setting
    scaler = torch.amp.GradScaler(setting.device, enabled=setting.amp == 'fp16')

    def step() -> torch.Tensor:
        data = student.data_preprocessor(raw, True)
        # popped: the images in another order are not kept beside these
        images = data.pop('inputs').contiguous(memory_format=torch.channels_last)
        with setting.autocast():
            loss, _ = student.parse_losses(student(images, data['data_samples'], mode='loss'))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        return loss.detach()

    return step


def divergence(term: LogitTerm, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of softened logits (N, C), in float32."""
    log_student = F.log_softmax(student.float() / term.tau, dim=1)
    log_teacher = F.log_softmax(teacher.float() / term.tau, dim=1)
    total = F.kl_div(log_student, log_teacher, reduction='sum', log_target=True)
    count = {'batchmean': len(student), 'mean': student.numel(), 'sum': 1}[term.reduction]
    return term.weight * term.tau**2 * total / count


def distance(term: HintTerm, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared distance of features (N, C, H, W) that are scaled to length 1 for each sample, in float32."""
    student, teacher = F.normalize(student.float().flatten(1)), F.normalize(teacher.float().flatten(1))
    return term.weight * (student - teacher).square().sum() / len(student)


def tap(model: nn.Module, names: list[str]) -> dict[str, torch.Tensor]:
    """Have modules leave what they return in a dict, under their names."""
    outputs: dict[str, torch.Tensor] = {}
    for name in dict.fromkeys(names):
        # a hook that returns something would replace the output
        model.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output}))
    return outputs


def fold(model: nn.Module) -> nn.Module:
    """Fold each BatchNorm into the convolution that stands right before it in the same module."""
    for parent in list(model.modules()):
        children = list(parent.named_children())
        for (name, module), (after, norm) in pairwise(children):
            if isinstance(module, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(module, norm))
                setattr(parent, after, nn.Identity())
    return model


ARMS: dict[str, Builder] = {
    OURS: our_step,
    BARE: lambda work: Bare(work, read_recipe(work.algorithm())),
    'bare-kept': lambda work: Bare(work, read_recipe(work.algorithm())),
    'bare-best': lambda work: BareBest(work, read_recipe(work.algorithm())),
    'student-only': student_only,
    'cache': cached_step,
    'mmrazor': mmrazor_step,
    'torchdistill': lambda work: torchdistill_step(work, read_recipe(work.algorithm())),
    'modelopt': lambda work: modelopt_step(work, read_recipe(work.algorithm())),
    'ours-compiled': our_compiled_step,
    'bare-best-compiled': lambda work: BareBest(work, read_recipe(work.algorithm()), compiled=True),
}
USUAL = 'bare,bare-best,student-only,cache'
ON_GPU = 'ours-compiled,bare-best-compiled'


# The command line


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the command line, measure, print and write."""
    arguments = parse(argv)
    path = arguments.config_option or arguments.config or FLAGSHIP
    builders = {name: ARMS[name] for name in chosen_arms(arguments)}
    out = Path(arguments.out or Path('work_dirs/benchmark') / Path(path).stem)
    if any(part.exists() and not part.is_dir() for part in (out, *out.parents)):
        raise UserError(Fault('--out', 'a folder', f'{out}, which is or lies in a file', 'choose another'))
    # what can be refused without the config is refused first
    given = {key: getattr(arguments, key) for key in ('batch', 'device', 'amp', 'threads', 'rounds', 'seed')}
    setting = Setting(**given, size=1 if arguments.size is None else arguments.size)
    if arguments.size is None:
        setting = replace(setting, size=usual_size(path, arguments.cfg_options))
    if setting.threads:
        torch.set_num_threads(setting.threads)
    # what models say of their initialisation
    logging.disable(logging.WARNING)
    result = Result(path, setting, describe_machine(setting.device), installed_versions())
    work = Workload(path, setting, arguments.cfg_options)
    if arguments.sweep == 'batch':
        result.sweeps['batch'] = sweep_batch(work, ARMS, arguments.points)
    elif arguments.sweep == 'losses':
        result.sweeps |= sweep_losses(work, arguments.points)
    else:
        compare_arms(work, builders, result)
        result.split = warm_rounds(parts_of_step(work), setting, 'parts')
    if arguments.memory_steps:
        result.memory_steps = memory_over_steps(work)
    console = Console()
    print_result(result, console)
    files = ', '.join(map(str, write_result(result, out)))
    console.print(f'\nwritten: {files}', highlight=False, soft_wrap=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = ArgumentParser(prog='benchmark.py', description='Cost of a distillation step, beside other loops')
    parser.add_argument('config', nargs='?', help=f'config of a distillation; {FLAGSHIP} by default')
    parser.add_argument('--config', dest='config_option', metavar='CONFIG', help='the same')
    parser.add_argument('--against', metavar='ARM,…', help=f'of {", ".join(ARMS)}; {USUAL} by default')
    parser.add_argument('--batch', type=int, default=16, help='images per step')
    parser.add_argument('--size', type=int, help='height and width of the images, in pixels; as the config has them')
    parser.add_argument('--threads', type=int, help="threads of the CPU; torch's own choice by default")
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cpu or cuda')
    parser.add_argument('--amp', default='none', help=f'precision of all arms but bare: {", ".join(PRECISIONS)}')
    parser.add_argument('--rounds', type=int, default=9, help='measured rounds')
    parser.add_argument('--seed', type=int, default=0, help='of weights, images and the order of the arms')
    parser.add_argument('--sweep', choices=('batch', 'losses'), help='cost over the batch; over recorders and losses')
    parser.add_argument('--points', type=points, metavar='N,…', help='values of the sweep')
    parser.add_argument('--memory-steps', action='store_true', help='memory of the process after 20 and 200 steps too')
    parser.add_argument(
        '--cfg-options', nargs='+', action=KeyValueAction, metavar='KEY=VALUE', help='values to change in the config'
    )
    parser.add_argument('--out', help='folder for benchmark.json and benchmark.png; work_dirs/benchmark/<config name>')
    return parser.parse_args(argv)


def points(text: str) -> tuple[int, ...]:
    """``'1,2,4' -> (1, 2, 4)``."""
    found = tuple(int(part) for part in text.split(','))
    if min(found) < 0 or not any(found):
        raise argparse.ArgumentTypeError(f'expected numbers above 0, got {text!r}')
    return found


def chosen_arms(arguments: argparse.Namespace) -> list[str]:
    """Names of the arms: ours first, then those of ``--against``."""
    usual = f'{USUAL},{ON_GPU}' if arguments.device == 'cuda' else USUAL
    asked = usual if arguments.against is None else arguments.against
    names = [name.strip() for name in asked.split(',') if name.strip()]
    for name in names:
        if name not in ARMS:
            raise UserError(Fault('--against', f'arms out of {", ".join(ARMS)}', repr(name), closest(name, ARMS)))
    return list(dict.fromkeys([OURS, *names]))


if __name__ == '__main__':
    sys.exit(main())
