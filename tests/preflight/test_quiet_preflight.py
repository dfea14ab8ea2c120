import random

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger, print_log

from kd_plugins.preflight.isolation import isolated

CONFIG = Config(dict(train_cfg=dict(max_epochs=2)))


def test_random_states_stay():
    before = random.random(), np.random.rand(), torch.rand(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with isolated(CONFIG):
        random.random(), np.random.rand(), torch.rand(1)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected != before


def test_the_log_is_silent_inside_alone(capsys):
    logger = MMLogger.get_instance('isolation', log_level='INFO')
    # mmengine's logger remembers that it was enabled
    logger.info('before')
    with isolated(CONFIG):
        logger.info('inside')
        print_log('inside too', logger=logger)
    logger.info('after')
    printed = capsys.readouterr()
    written = printed.out + printed.err
    assert 'before' in written
    assert 'inside' not in written
    assert 'after' in written
