"""What was measured, all of it, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kd_plugins.benchmark.rounds import Round, Spread, ratios_of, spread_of
from kd_plugins.benchmark.setting import Setting

MIB = 2**20


@dataclass
class ArmResult:
    """What is known of one arm besides its seconds.

    Attributes:
        first_loss: Of its first step.
        deviation: How far that is from ours, relative; None where it does other work.
        peak_bytes: Tensor memory of a step at its peak, above what was held before.
        flops: Operations of a step's convolutions and matrix products; None where they cannot be counted.
        floor: On a GPU: kernels, and the least seconds by arithmetic and by memory.
    """

    first_loss: float
    deviation: float | None
    peak_bytes: int
    flops: int | None = None
    floor: dict[str, float] | None = None


@dataclass
class Result:
    """A whole measurement.

    Attributes:
        config: Path of the config.
        setting: What was measured with.
        base: Arm that the ratios are to.
        rounds: Of the arms.
        arms: What else is known of them, by name.
        keeps_memory: Arms that keep freed memory for the next step, as a training of ours on a CPU does.
        left_out: Why an arm was not measured, by name.
        split: Rounds of the parts of our step, and of the step.
        sweeps: For each sweep, a dict for each point.
        memory_steps: Memory of the process after so many steps of ours, in bytes.
        machine: Of :func:`describe_machine`.
        versions: Of :func:`installed_versions`.
    """

    config: str
    setting: Setting
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    base: str = ''
    rounds: Sequence[Round] = ()
    arms: dict[str, ArmResult] = field(default_factory=dict)
    keeps_memory: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    split: Sequence[Round] = ()
    sweeps: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    memory_steps: dict[int, int] = field(default_factory=dict)

    def ratios(self) -> dict[str, Spread]:
        """By arm, its seconds over those of the base in the same round."""
        return {name: spread_of(ratios_of(self.rounds, name, self.base)) for name in self.arms}

    def seconds(self, rounds: Sequence[Round]) -> dict[str, Spread]:
        """By arm or part, its seconds."""
        return {name: spread_of([one.seconds[name] for one in rounds]) for name in rounds[0].seconds}

    def as_json(self) -> dict[str, Any]:
        """Everything, in types that JSON has."""
        found: dict[str, Any] = dict(
            config=self.config,
            setting=asdict(self.setting),
            machine=dict(self.machine),
            versions=dict(self.versions),
            base=self.base,
            arms={},
            keeps_memory=self.keeps_memory,
            left_out=self.left_out,
            rounds=[dict(order=list(one.order), seconds=dict(one.seconds)) for one in self.rounds],
            split=[dict(order=list(one.order), seconds=dict(one.seconds)) for one in self.split],
            sweeps=self.sweeps,
            memory_steps=self.memory_steps,
        )
        if self.rounds:
            seconds, ratios = self.seconds(self.rounds), self.ratios()
            for name, arm in self.arms.items():
                images = self.setting.batch / seconds[name].median
                numbers = dict(ratio=asdict(ratios[name]), seconds=asdict(seconds[name]), images_per_second=images)
                found['arms'][name] = {**asdict(arm), **numbers}
        return found

    def write(self, path: Path) -> None:
        """Write everything as JSON; the file is there whole or not at all."""
        draft = path.with_suffix('.json.draft')
        draft.write_text(json.dumps(self.as_json(), indent=1) + '\n')
        draft.replace(path)
