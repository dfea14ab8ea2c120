"""--amp and compile train the quickstart on this machine, and --resume continues it."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.preflight import emulation
from kd_plugins.preflight.emulation import CPUSupport
from tools import train

QUICKSTART = Path(__file__).parents[2] / 'configs/quickstart'


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    with DefaultScope.overwrite_default_scope('mmpretrain'), MODELS.switch_scope_and_registry('mmpretrain') as models:
        torch.save(
            {'state_dict': models.build(Config.fromfile(QUICKSTART / 'teacher_vgg_digits.py').model).state_dict()}, path
        )
    return path


@pytest.fixture(autouse=True)
def _cpu_with_bfloat16(monkeypatch):
    """On a CPU that emulates bfloat16, --amp alone is refused."""
    monkeypatch.setattr(emulation, 'cpu_support', lambda: CPUSupport(True, True, True))


def run(teacher, work_dir, *options, iterations=6, changes=()):
    status = train.main(
        [str(QUICKSTART / 'kd_vgg_cnn_digits.py'), *options, '--work-dir', str(work_dir), '--cfg-options']
        + [f'model.teacher_ckpt={teacher}', f'train_cfg.max_iters={iterations}', 'train_cfg.val_interval=3']
        + ['default_hooks.checkpoint.interval=3', 'default_hooks.checkpoint.max_keep_ckpts=9']
        + ['default_hooks.logger.interval=1', *changes]
    )
    assert status == 0
    lines = []
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return [line['loss'] for line in lines if 'loss' in line]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='about the wrapper for a CPU')
@pytest.mark.parametrize('amp', [['--amp'], ['--amp', 'fp16']], ids=' '.join)
def test_quickstart_trains_and_resumes(amp, teacher, tmp_path):
    plain = run(teacher, tmp_path / 'plain')

    assert len(run(teacher, tmp_path / 'amp', *amp, iterations=3)) == 3
    losses = run(teacher, tmp_path / 'amp', *amp, '--resume')

    assert len(losses) == 6
    # the same images in the first epoch's order, and the same weights at the beginning
    assert losses[:3] == pytest.approx(plain[:3], rel=0.02)
    assert losses != plain
    checkpoint = torch.load(tmp_path / 'amp/iter_6.pth', weights_only=True)
    assert checkpoint['meta']['iter'] == 6
    assert bool(checkpoint['optimizer']['loss_scaler']) == ('fp16' in amp)
    assert {weight.dtype for weight in checkpoint['state_dict'].values() if weight.is_floating_point()} == {
        torch.float32
    }


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='about the wrapper for a CPU')
@pytest.mark.parametrize('amp', [[], ['--amp']], ids=['float32', 'bfloat16'])
def test_compiled_quickstart_has_the_same_losses(amp, teacher, tmp_path):
    plain = run(teacher, tmp_path / 'plain', *amp)
    compiled = run(teacher, tmp_path / 'compiled', *amp, changes=['compile.backend=aot_eager'])
    assert compiled == pytest.approx(plain, rel=2e-2 if amp else 1e-4)
    saved = [torch.load(tmp_path / name / 'iter_6.pth', weights_only=True) for name in ('plain', 'compiled')]
    assert saved[0]['state_dict'].keys() == saved[1]['state_dict'].keys()
