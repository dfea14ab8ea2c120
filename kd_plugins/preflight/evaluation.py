"""Sends two samples through the model and its evaluators, before a whole epoch leads up to that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from mmengine.evaluator import DumpResults, Evaluator
from mmengine.model import BaseModel
from mmengine.registry import EVALUATOR
from mmengine.structures import BaseDataElement

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.build import bare_name, explain_failure
from kd_plugins.errors import Fault, describe_error
from kd_plugins.preflight.dry_run import run_located
from kd_plugins.preflight.findings import Findings
from kd_plugins.preflight.probe import SAMPLES, Batch, pipeline_of, probe_batches, real_batches
from kd_plugins.teacher import Teachers

# loops of which it is known what they give to their evaluator, and what they put before the names of its metrics
LOOPS = {'': '', 'ValLoop': '', 'TestLoop': '', 'SingleTeacherDistillValLoop': '', 'SelfDistillValLoop': 'student.'}
TEACHER_LOOP = 'SingleTeacherDistillValLoop'
# arguments of metrics that write files
TARGETS = ('out_file_path', 'outfile_prefix', 'output_dir', 'submit_dir', 'dump_dir')
# their metrics can do with two samples, or say that they cannot
LIBRARIES = ('kd_plugins', 'mmengine', 'mmpretrain', 'mmdet', 'mmseg')
ADVICE = 'correct its arguments, or choose a metric for what the model predicts'

Predict = Callable[[Any], Any]


def check_evaluation(config: Any, model: BaseModel, findings: Findings, ready: bool) -> list[str] | None:
    """Evaluate the model on two samples of the validation and of the test data.

    Args:
        config: The whole config.
        model: Of the config; it is left in eval mode.
        findings: Grows by what is wrong.
        ready: Whether the data must be there; made-up images stand for them otherwise, where they can.

    Returns:
        The names of the metrics of a validation; None where they are not known.
    """
    val, test = (_Evaluation(config, model, part, findings, ready) for part in ('val', 'test'))
    names = val.run() if val.is_known else None
    if test.is_known and not (val.is_known and val.evaluated == test.evaluated):
        test.run()
    return names


class _Evaluation:
    """One evaluation on two samples.

    Args:
        config: The whole config.
        model: Of the config.
        part: ``'val'`` or ``'test'``.
        findings: Grows by what is wrong.
        ready: Whether the data must be there.
    """

    def __init__(self, config: Any, model: BaseModel, part: str, findings: Findings, ready: bool) -> None:
        self.config, self.model, self.part = config, model, part
        self.findings, self.ready = findings, ready
        self.written = config.get(f'{part}_evaluator')
        self.loop = bare_name((config.get(f'{part}_cfg') or {}).get('type', ''))
        # one evaluation is enough for two that are alike
        self.evaluated = self.written, str(pipeline_of((config.get(f'{part}_dataloader') or {}).get('dataset')))

    @property
    def is_known(self) -> bool:
        """Whether there is such an evaluation, by a loop that is known."""
        return self.written is not None and self.config.get(f'{self.part}_cfg') is not None and self.loop in LOOPS

    def run(self) -> list[str] | None:
        """Evaluate student and teachers; returns the names of the metrics, None where they are not known."""
        self.model.eval()
        loader = f'{self.part}_dataloader'
        faults: list[Fault] = []
        certain = False
        for batch in (real_batches if self.ready else probe_batches)(self.config, loader):
            faults = []
            names = self._evaluate_all(batch, faults)
            if not faults and names is not None:
                return names
            # real samples may be annotated otherwise than made-up ones
            certain = not batch.made_up
        (self.findings.faults if certain else self.findings.warnings).extend(faults)
        return None

    def _evaluate_all(self, batch: Batch, faults: list[Fault]) -> list[str] | None:
        names = self._evaluate(batch, self.model.val_step, 'model', faults)
        found = None if names is None else [LOOPS[self.loop] + name for name in names]
        if found is None or faults or self.loop != TEACHER_LOOP or not isinstance(self.model, DistillAlgorithm):
            return found
        for prefix, teacher in self._teachers():
            of_teacher = self._evaluate(batch, teacher, 'model.teacher', faults)
            if of_teacher is None:
                return None
            found += [prefix + name for name in of_teacher]
        return found

    def _teachers(self) -> Iterator[tuple[str, Predict]]:
        """Each teacher's prefix of its metrics, and what predicts with it."""
        teacher = getattr(self.model, 'teacher', None)
        if isinstance(teacher, Teachers):
            for name in teacher.names:
                yield f'teacher.{name}.', partial(self._predict, partial(teacher.run, name))
        elif teacher is not None:
            yield 'teacher.', partial(self._predict, teacher)

    def _predict(self, teacher: Callable[..., Any], data: Any) -> Any:
        prepared = self.model.data_preprocessor(data, False)
        arguments = partial(teacher, **prepared) if isinstance(prepared, dict) else partial(teacher, *prepared)
        return arguments(mode='predict')

    def _evaluate(self, batch: Batch, predict: Predict, where: str, faults: list[Fault]) -> list[str] | None:
        located = Findings()
        with torch.no_grad():
            outputs = run_located(self.model, where, partial(predict, batch.data), located)
        if isinstance(outputs, Mapping):
            expected, got = 'predictions as a list, an entry for each image', f'a {type(outputs).__name__}'
            faults.append(Fault(where, expected, got, "return a list where forward's mode is 'predict'"))
            return None
        if not isinstance(outputs, (list, tuple)):
            # what a hook prepares before a validation is not there yet: no reason to refuse the config
            self.findings.warnings += located.stumbles if not batch.made_up else []
            return None
        samples = [sample.to_dict() if isinstance(sample, BaseDataElement) else sample for sample in outputs]
        evaluator = self._build(batch, faults)
        names: list[str] | None = []
        for where_metric, metric in self._metrics(evaluator) if evaluator is not None else ():
            if any(getattr(metric, key, None) for key in TARGETS):
                names = names if isinstance(metric, DumpResults) else None
                continue
            found = self._measure(metric, where_metric, batch, samples, faults)
            # of predictions that hold nothing, some metrics make nothing
            names = [*names, *found] if found and names is not None else None
        return names if evaluator is not None else None

    def _build(self, batch: Batch, faults: list[Fault]) -> Evaluator | None:
        where = f'{self.part}_evaluator'
        try:
            if isinstance(self.written, Evaluator):
                return self.written
            written = self.written
            if isinstance(written, dict) and 'metrics' in written:
                evaluator = EVALUATOR.build({'type': 'Evaluator', **written})
            else:
                evaluator = Evaluator(written)
            evaluator.dataset_meta = dict(batch.metainfo)
            return evaluator
        except OSError:
            return None  # annotations that are not there: the data set says so
        except Exception as error:
            faults += explain_failure(error, where, self.written).faults
            return None

    def _metrics(self, evaluator: Evaluator) -> Iterator[tuple[str, Any]]:
        where = f'{self.part}_evaluator'
        written = self.written
        if isinstance(written, dict) and 'metrics' in written:
            where, written = f'{where}.metrics', written['metrics']
        for index, metric in enumerate(evaluator.metrics):
            yield f'{where}.{index}' if isinstance(written, (list, tuple)) else where, metric

    def _measure(self, metric: Any, where: str, batch: Batch, samples: list[Any], faults: list[Fault]) -> list[str]:
        """The names of one metric's results."""
        expected = f'a metric that takes what the {self.part} loop gives it'
        try:
            metric.process(batch.data, samples)
        except Exception as error:
            faults.append(Fault(where, expected, f'{describe_error(error)} in {type(metric).__name__}', ADVICE))
            return []
        try:
            return list(metric.evaluate(SAMPLES))
        except Exception as error:
            fault = Fault(where, expected, f'{describe_error(error)} in {type(metric).__name__}', ADVICE)
            if type(metric).__module__.startswith(LIBRARIES):
                faults.append(fault)
            else:
                self.findings.warnings.append(fault)
            return []
