"""A package that a part of the Runner needs is named with the key path of the part, before the first step."""

from importlib.util import find_spec

import pytest
from mmengine.config import Config
from toy import runner_config

from kd_plugins.engine.launch import prepare_training
from kd_plugins.errors import UserError

BACKENDS = dict(
    WandbVisBackend='wandb',
    MLflowVisBackend='mlflow',
    ClearMLVisBackend='clearml',
    NeptuneVisBackend='neptune',
    DVCLiveVisBackend='dvclive',
    AimVisBackend='aim',
)
MISSING = {kind: package for kind, package in BACKENDS.items() if find_spec(package) is None}


@pytest.mark.skipif(not MISSING, reason='all of them are installed')
@pytest.mark.parametrize('scope', ['', 'mmengine.'])
def test_backends_of_the_visualizer(tmp_path, scope):
    for kind, package in MISSING.items():
        backends = [dict(type='LocalVisBackend'), dict(type=f'{scope}{kind}')]
        config = Config(
            dict(
                vis_backends=backends,  # as OpenMMLab's configs name them first
                **runner_config(tmp_path / kind, default_scope='mmpretrain'),
                visualizer=dict(type='Visualizer', vis_backends=backends, name=kind),
                launcher='none',
            )
        )
        with pytest.raises(UserError) as caught:
            prepare_training(config)
        (fault,) = caught.value.faults
        assert fault.where == 'visualizer.vis_backends.1'
        assert fault.advice == f'pip install {package}, or remove this part'
        assert not (tmp_path / kind).exists()
