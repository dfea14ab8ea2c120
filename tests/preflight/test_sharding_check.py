"""What a sharded teacher cannot be is refused before the training."""

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS
from toy import algorithm_config, distiller_config

from kd_plugins.preflight.sharding import process_faults, shard_faults


def config(launcher='pytorch', **model):
    return Config(dict(launcher=launcher, model=dict(teacher_forward=dict(shard=True), **model)))


@pytest.mark.parametrize(('launcher', 'refused'), [('none', True), ('pytorch', False), ('slurm', False)])
def test_one_process_has_nobody_to_share_with(launcher, refused):
    faults = process_faults(config(launcher))

    assert [fault.where for fault in faults] == ['model.teacher_forward.shard'] * refused


@pytest.mark.parametrize('model', [{}, dict(teacher_forward=None), dict(teacher_forward=dict(shard=False))])
def test_without_shards_there_is_nothing_to_say(model):
    plain = Config(dict(launcher='none', model=model))

    assert not process_faults(plain)
    assert not shard_faults(plain, None)


def test_teacher_that_learns_is_not_sharded():
    (fault,) = shard_faults(config(teacher_trainable=True), None)

    assert (fault.where, fault.got) == ('model.teacher_forward.shard', 'teacher_trainable=True')


def test_recorder_of_a_weight_is_refused_by_its_key_path():
    distiller = distiller_config()
    distiller['teacher_recorders']['logits'] = dict(type='Parameter', source='fc.weight')
    algorithm = MODELS.build(dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(distiller=distiller)))

    (fault,) = shard_faults(config(), algorithm)

    assert fault.where == 'model.distiller.teacher_recorders.logits'
    assert "'fc.weight'" in fault.got
