"""Measure the cost of distilling a detector: ``python tools/benchmark_detector.py CONFIG``."""

import sys

import torch

from kd_plugins.benchmark.detector import detector_arms
from kd_plugins.benchmark.rounds import measure_rounds, ratios_of, spread_of
from kd_plugins.benchmark.setting import Setting
from kd_plugins.engine.allocator import keep_freed_memory
from kd_plugins.engine.command_line import ArgumentParser, KeyValueAction, command
from kd_plugins.report.machine import describe_machine, installed_versions


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the command line, measure, and print a table in Markdown."""
    parser = ArgumentParser(
        description='Our step against a plain loop, and what stopping the teacher at its neck saves'
    )
    parser.add_argument('config', help='of a detector of one stage, with PKD of its levels')
    parser.add_argument('--size', type=int, default=320, help='height and width of the images, in pixels')
    parser.add_argument('--batch', type=int, default=2, help='images in a step')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--cfg-options', nargs='+', action=KeyValueAction, metavar='KEY=VALUE')
    arguments = parser.parse_args(argv)

    setting = Setting(batch=arguments.batch, size=arguments.size, rounds=arguments.rounds)
    keep_freed_memory()
    arms = detector_arms(arguments.config, setting, arguments.cfg_options)
    first = {arm.name: float(arm.step()) for arm in arms}
    rounds = measure_rounds(
        {arm.name: arm.step for arm in arms},
        setting.rounds,
        on_round=lambda number: print(f'round {number + 1} of {setting.rounds}', file=sys.stderr),
    )
    print('| step | median, ms | over plain | quartiles | first loss |\n| --- | ---: | ---: | ---: | ---: |')
    for arm in arms:
        seconds = spread_of([one.seconds[arm.name] for one in rounds])
        ratio = spread_of(ratios_of(rounds, arm.name, 'plain'))
        print(
            f'| {arm.name} | {seconds.median * 1000:,.0f} | {ratio.median:.2f} | {ratio.low:.2f} to {ratio.high:.2f} '
            f'| {first[arm.name]:.5f} |'
        )
    print(f'\n{describe_machine("cpu")}\n{installed_versions()}\ntorch threads: {torch.get_num_threads()}')


if __name__ == '__main__':
    sys.exit(main())
