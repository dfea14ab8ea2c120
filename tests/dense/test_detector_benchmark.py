"""The benchmark of a detector compares steps that compute the same."""

import pytest
from small_configs import CONFIGS

from tools import benchmark_detector

CONFIG = str(CONFIGS / 'pkd/pkd_fpn_retinanet-r101_retinanet-r50_8xb2_coco.py')
SMALL = ['--size', '64', '--batch', '2', '--rounds', '1']
LOSS = 'model.distiller.distill_losses.loss_pkd_p3'
THREE_CLASSES = [f'model.{side}.bbox_head.num_classes=3' for side in ('architecture', 'teacher')]
TWO_LEVELS = """
_base_ = [{base!r}]
levels = {{
    f'loss_{{level}}': dict(
        type='PKDLoss',
        loss_weight=level,
        student=dict(source='neck', data_idx=level),
        teacher=dict(source='neck', data_idx=level),
    )
    for level in (3, 1)
}}
model = dict(distiller=dict(distill_losses=dict(_delete_=True, **levels)))
"""


def table(capsys, config, *options):
    """The cells of each step behind its name, and all that was printed."""
    assert benchmark_detector.main([str(config), *SMALL, *options]) == 0
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in printed.splitlines() if line.startswith('| ')]
    return {row[0]: row[1:] for row in rows[2:]}, printed


def test_all_steps_have_one_loss(capsys):
    steps, printed = table(capsys, CONFIG)

    assert list(steps) == ['ours', 'ours, whole teacher', 'plain']
    assert steps['plain'][1] == '1.00'
    losses = [float(step[3]) for step in steps.values()]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    assert 'mmdet' in printed
    assert 'torch threads: ' in printed


def test_some_levels_and_other_classes(capsys, tmp_path):
    config = tmp_path / 'two_levels.py'
    config.write_text(TWO_LEVELS.format(base=CONFIG))

    steps, _ = table(capsys, config, '--cfg-options', *THREE_CLASSES)

    losses = [float(step[3]) for step in steps.values()]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


@pytest.mark.parametrize(
    ('options', 'got'),
    [
        ([f'{LOSS}.type=L2Loss'], 'a RetinaNet that is distilled by L2Loss, PKDLoss'),
        ([f'{LOSS}.student.source=backbone'], "'backbone' with data_idx=0 (distill_losses.loss_pkd_p3.student)"),
        ([f'{LOSS}.teacher.data_idx=None'], "'neck' with no data_idx (distill_losses.loss_pkd_p3.teacher)"),
        (
            [
                f'{LOSS}.student.connector.{argument}'
                for argument in ('type=ConvModuleConnector', 'in_channel=256', 'out_channel=256')
            ],
            "'neck' with data_idx=0 through a connector (distill_losses.loss_pkd_p3.student)",
        ),
    ],
)
def test_another_method_is_refused(capsys, options, got):
    assert benchmark_detector.main([CONFIG, *SMALL, '--cfg-options', *options]) == 2

    error = capsys.readouterr().err
    assert error.startswith('error: CONFIG\n')
    assert f'got:      {got}\n' in error
