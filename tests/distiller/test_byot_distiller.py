from collections import namedtuple

import torch

from kd_plugins.distiller import RecordSpec
from kd_plugins.distiller.byot_distiller import BYOTDistiller

Levels = namedtuple('Levels', ['low', 'high'])
SOURCE = dict(type='L2Loss', student='a', teacher='b')


def test_what_comes_from_the_teacher_is_detached_wherever_it_is():
    distiller = BYOTDistiller(distill_losses=dict(loss_a=SOURCE))
    tensor = torch.ones(2, requires_grad=True)
    for record in (tensor, [tensor], (tensor, 3), dict(a=tensor, b=[tensor]), Levels(tensor, dict(a=tensor))):
        assert distiller.connect(RecordSpec('r', from_student=True), record) is record
        detached = distiller.connect(RecordSpec('r', from_student=False), record)
        assert type(detached) is type(record)
        assert 'requires_grad=True' not in repr(detached)
        assert repr(detached) == repr(record).replace(', requires_grad=True', '')
