"""The benchmark runs and names every part; what it measures is nobody's test."""

from pathlib import Path

import pytest

from tools import benchmark

CONFIG = Path(__file__).parents[2] / 'configs/fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb16_cifar10.py'


@pytest.mark.slow
def test_names_every_part(capsys):
    benchmark.main([str(CONFIG), '--batch', '2', '--size', '32', '--rounds', '1'])
    printed = capsys.readouterr().out
    for part in ('teacher', 'student', 'connectors', 'loss_kl', 'loss_s3', 'loss_s4', 'step'):
        assert part in printed
