"""Write a config for a new pair: ``kd new --method fitnets --teacher … --student … -o FILE``."""

import argparse
import sys
from pathlib import Path

from kd_plugins.build import library_folder
from kd_plugins.engine.command_line import ArgumentParser, command
from kd_plugins.scaffold import DATASETS, METHODS, Request, check_target, make_plan, write_checked, write_page


@command
def main(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line, draft the config, check it and write it."""
    methods = '\n'.join(f'  {name:<9}{method.library.package}: {method.summary}' for name, method in METHODS.items())
    datasets = '\n'.join(f'  {name:<9}{dataset.title}' for name, dataset in DATASETS.items())
    parser = ArgumentParser(
        prog=prog,
        description='Write a short config that distils one model into another, and passes the preflight',
        epilog=f'methods:\n{methods}\n\ndata sets:\n{datasets}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--method', choices=METHODS, required=True, help='what is compared; see below')
    for role in ('teacher', 'student'):
        parser.add_argument(
            f'--{role}',
            required=True,
            metavar='CONFIG',
            help='a config that the library ships, e.g. resnet50_8xb32_in1k or resnet/resnet50_8xb32_in1k.py',
        )
    parser.add_argument(
        '--dataset',
        choices=DATASETS,
        default='',
        help="imagenet by default; detectors and segmentors train on the student's own data",
    )
    parser.add_argument(
        '--teacher-ckpt', metavar='PATH', help="the teacher's weights; those that its library lists by default"
    )
    parser.add_argument('-o', '--out', required=True, type=Path, metavar='FILE', help='config to write, FILE.py')
    arguments = parser.parse_args(argv)

    check_target(arguments.out)
    plan = make_plan(
        Request(
            method=arguments.method,
            teacher=arguments.teacher,
            student=arguments.student,
            out=arguments.out,
            configs=_folder_of_configs(),
            dataset=arguments.dataset,
            teacher_ckpt=arguments.teacher_ckpt,
        )
    )
    findings = write_checked(arguments.out, write_page(plan))
    for warning in findings.warnings:
        print(f'note: {warning}', file=sys.stderr)
    check = 'kd check' if prog else 'python tools/check_config.py'
    print(f'{arguments.out}: passes the preflight; look at it with {check} {arguments.out}')


def _folder_of_configs() -> Path | None:
    """The folder ``configs`` of a checkout; None where the package was installed from a wheel and has its own copy."""
    configs = library_folder('kd_plugins') / 'configs'
    return configs.resolve() if configs.is_symlink() else None
