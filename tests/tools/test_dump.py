"""A config that was written out by the preflight, by the run or by the tool, reproduces the run to the bit."""

from pathlib import Path

import pytest
import torch

from tools import check_config, test, train

REPOSITORY = Path(__file__).parents[2]
CONFIG = f"""
_base_ = [{str(REPOSITORY / 'configs/quickstart/kd_vgg_cnn_digits.py')!r}]
model = dict(
    teacher_ckpt=None,
    distiller=dict(
        connectors=dict(named=dict(type='ConvModuleConnector', act_cfg=None)),
        distill_losses=dict(
            loss_b=dict(type='L2Loss', student='backbone.stages.1', teacher='backbone.stages.1', connector='auto'),
            loss_a=dict(type='L2Loss', student='backbone.stages.0', teacher='backbone.stages.0', connector='named'),
        ),
    ),
)
train_cfg = dict(max_iters=2, val_interval=2)
"""


def student_of(config, work_dir):
    assert train.main([str(config), '--work-dir', str(work_dir)]) == 0
    state = torch.load(work_dir / 'iter_2.pth', weights_only=True)['state_dict']
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


@pytest.mark.slow
def test_a_dumped_config_reproduces_the_run(tmp_path, capsys):
    left_out, explicit = tmp_path / 'left_out.py', tmp_path / 'explicit.py'
    left_out.write_text(CONFIG)
    expected = student_of(left_out, tmp_path / 'first')
    assert 'preflight: model.distiller.distill_losses.loss_b.connector = ' in capsys.readouterr().out
    assert check_config.main([str(left_out), '--dump', str(explicit)]) == 0
    (dumped,) = (tmp_path / 'first').glob('left_out.py')
    for number, config in enumerate((explicit, dumped)):
        assert "'auto'" not in config.read_text()
        capsys.readouterr()
        again = student_of(config, tmp_path / f'again{number}')
        assert 'preflight: model.distiller' not in capsys.readouterr().out
        assert again.keys() == expected.keys()
        assert all(torch.equal(again[name], expected[name]) for name in expected)
    # every tool works the connectors out, not training alone
    arguments = [str(left_out), str(tmp_path / 'first' / 'iter_2.pth'), '--work-dir', str(tmp_path / 'test')]
    assert test.main(arguments) == 0
    assert 'accuracy/top1' in capsys.readouterr().out
