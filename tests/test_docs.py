"""The examples in the documentation run."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
import torch
from test_registry import MMRAZORS
from torch import nn
from toy import toy_batch

from kd_plugins.compat.catalogue import MMCLS_CONFIGS
from kd_plugins.losses import KLDivergence
from kd_plugins.registry import MODELS, TASK_UTILS
from tools import check_config

REPOSITORY = Path(__file__).parents[1]
EXTENDING = (REPOSITORY / 'docs' / 'extending.md').read_text()


PACKAGE = REPOSITORY / 'kd_plugins'
WITH_EXAMPLES = [
    '.'.join(path.relative_to(REPOSITORY).with_suffix('').parts)
    for path in sorted(PACKAGE.rglob('*.py'))
    if '>>> ' in path.read_text()
]


@pytest.mark.parametrize('module', WITH_EXAMPLES)
def test_examples_of_the_docstrings(module):
    names = {'torch': torch, 'nn': nn}
    outcome = doctest.testmod(importlib.import_module(module), extraglobs=names)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_components_of_the_guide():
    blocks = [block for block in re.findall(r'```python\n(.*?)```', EXTENDING, re.S) if 'class ' in block]
    assert len(blocks) == 4
    names: dict = {}
    try:
        for block in blocks:
            exec(block, names)
        loss, connector = names['CosineLoss'](loss_weight=2.0), names['PoolConnector'](4, 6)
        feature = torch.rand(3, 6)
        assert loss(feature, 5 * feature).item() == pytest.approx(0, abs=1e-6)
        assert loss(feature, -feature).item() == pytest.approx(4)
        assert connector(torch.rand(3, 4, 2, 2)).shape == (3, 6)

        (config,) = re.findall(r'```python\n(distiller = .*?)```', EXTENDING, re.S)
        exec(config, names)
        distiller = MODELS.build({**names['distiller'], '_scope_': 'kd_plugins'})
        assert list(distiller.spec.mappings[0].arguments) == ['s_feature', 't_feature']

        recorder = TASK_UTILS.build(dict(type='ModuleOutputMeans', source='0', _scope_='kd_plugins'))
        model = nn.Sequential(nn.Conv2d(3, 5, 1))
        recorder.attach(model)
        with recorder:
            output = model(torch.rand(2, 3, 4, 4))
        assert torch.equal(recorder.pop()[0], output.mean(dim=(2, 3)))

        parts = dict(distill_losses=dict(loss_kl=dict(type='KLDivergence', student='fc', teacher='fc')))
        algorithm = names['MirrorDistill'](
            architecture=dict(type='ToyClassifier'), distiller=dict(type='ConfigurableDistiller', **parts)
        )
        losses = algorithm.eval()(**toy_batch(), mode='loss')
        images = toy_batch()['inputs']
        expected = KLDivergence()(algorithm.student(images), algorithm.student(images.flip(-1)))
        torch.testing.assert_close(losses['distill.loss_kl'], expected)
    finally:
        for name in ('CosineLoss', 'PoolConnector', 'MirrorDistill'):
            MODELS.module_dict.pop(name, None)
        TASK_UTILS.module_dict.pop('ModuleOutputMeans', None)


def test_files_that_the_readme_links_exist():
    links = re.findall(r'\]\(([^)#:]+)\)', (REPOSITORY / 'README.md').read_text())
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_the_config_of_the_readme_is_good(tmp_path, capsys):
    (config,) = re.findall(r'```python\n(_base_ = .*?)```', (REPOSITORY / 'README.md').read_text(), re.S)
    path = tmp_path / 'readme.py'
    path.write_text(config)
    assert check_config.main([str(path)]) == 0
    assert 'ConvModule 512 to 2048' in capsys.readouterr().out


def test_the_page_for_mmrazors_users_has_every_config_and_name():
    text = (REPOSITORY / 'docs' / 'from_mmrazor.md').read_text()
    names = [name for listed in MMRAZORS.values() for name in listed.split()]
    assert [name for name in (*MMCLS_CONFIGS, *names) if f'`{name}`' not in text] == []
