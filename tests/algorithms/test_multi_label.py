"""A pair of mmpretrain's multi-label heads is distilled: images with several labels, and each class by itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import TRANSFORMS
from mmpretrain.datasets import PackInputs

from kd_plugins.losses import BinaryKLDivergence
from tools import check_config, train

BASE = Path(__file__).parents[2] / 'configs/quickstart/kd_vgg_cnn_digits.py'
# what a digit is: even, prime, above 4, drawn with a closed loop
ATTRIBUTES = ((0, 2, 4, 6, 8), (2, 3, 5, 7), (5, 6, 7, 8, 9), (0, 6, 8, 9))

CONFIG = f"""
_base_ = ['{BASE}']
head = dict(_delete_=True, type='MultiLabelLinearClsHead', num_classes={len(ATTRIBUTES)})
model = dict(
    architecture=dict(head=dict(**head, in_channels=128)),
    teacher=dict(head=dict(**head, in_channels=256)),
    teacher_ckpt=None,
    distiller=dict(
        distill_losses=dict(
            loss_kl=dict(
                _delete_=True, type='BinaryKLDivergence', tau=2, loss_weight=10, student='head.fc', teacher='head.fc'
            )
        )
    ),
)
data_preprocessor = dict(num_classes={len(ATTRIBUTES)})
pipeline = [dict(type='PackAttributes')]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
val_evaluator = dict(_delete_=True, type='MultiLabelMetric', average='micro')
param_scheduler = None
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1))
"""


@TRANSFORMS.register_module()
class PackAttributes(PackInputs):
    """Labels an image with what its digit is; 1 is nothing of it."""

    def transform(self, results):
        digit = int(results['gt_label'])
        labels = np.array([index for index, digits in enumerate(ATTRIBUTES) if digit in digits], dtype=np.int64)
        packed = super().transform({**results, 'gt_label': labels})
        packed['data_samples'].set_gt_score(np.isin(np.arange(len(ATTRIBUTES)), labels).astype(np.float32))
        return packed


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'multi_label.py'
    path.write_text(CONFIG)
    return path


def test_trains_and_validates(config, tmp_path, monkeypatch):
    pairs = []
    forward = BinaryKLDivergence.forward

    def watched(self, preds_S, preds_T):  # noqa: N803
        value = forward(self, preds_S, preds_T)
        pairs.append((preds_S.detach().clone(), preds_T.detach().clone(), value.item()))
        return value

    monkeypatch.setattr(BinaryKLDivergence, 'forward', watched)

    assert train.main([str(config), '--work-dir', str(tmp_path / 'run')]) == 0

    (path,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    log = [json.loads(line) for line in path.read_text().splitlines()]
    first, second = (line for line in log if 'distill.loss_kl' in line)
    assert np.isfinite([first['loss'], second['loss']]).all()
    (validation,) = (line for line in log if 'multi-label/f1-score_micro' in line)
    assert 'teacher.multi-label/f1-score_micro' in validation
    # the first training step, of 32 images
    student, teacher, value = next(pair for pair in pairs if len(pair[0]) == 32)
    assert student.shape == teacher.shape == (32, len(ATTRIBUTES))
    q_s, q_t = (torch.sigmoid(side.double() / 2) for side in (student, teacher))
    divergence = q_t * (q_t / q_s).log() + (1 - q_t) * ((1 - q_t) / (1 - q_s)).log()
    assert value == pytest.approx(10 * 4 * divergence.sum().item() / 32, rel=1e-4)
    assert first['distill.loss_kl'] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize(('kind', 'warned'), [('BinaryKLDivergence', False), ('KLDivergence', True)])
def test_the_check_of_the_config_says_what_is_meant(kind, warned, config, capsys):
    option = f'model.distiller.distill_losses.loss_kl.type={kind}'
    assert check_config.main([str(config), '--cfg-options', option]) == 0
    shown = capsys.readouterr().out
    assert ("type='BinaryKLDivergence'" in shown) == warned
    assert ('whose softmax lets the classes compete' in ' '.join(shown.split())) == warned
