import pytest
import torch
from toy import algorithm_config, toy_batch

from kd_plugins.algorithms import OverhaulFeatureDistillation
from kd_plugins.connectors import batch_norm_margin
from kd_plugins.errors import UserError


def config(source='bn', connector='OFDTeacherConnector'):
    widen = dict(type='ConvModuleConnector', in_channel=4, out_channel=6, norm_cfg=dict(type='BN'), act_cfg=None)
    return algorithm_config(
        distiller=dict(
            type='OFDDistiller',
            student_recorders=dict(bn=dict(type='ModuleOutputs', source='bn')),
            teacher_recorders=dict(bn=dict(type='ModuleOutputs', source=source)),
            distill_losses=dict(loss_bn=dict(type='L2Loss', normalize=False)),
            connectors=dict(widen=widen, margin=dict(type=connector)),
            loss_forward_mappings=dict(
                loss_bn=dict(
                    s_feature=dict(recorder='bn', from_student=True, connector='widen'),
                    t_feature=dict(recorder='bn', from_student=False, connector='margin'),
                )
            ),
        )
    )


def test_margins_are_those_of_the_teachers_batch_norm():
    algorithm = OverhaulFeatureDistillation(**config())
    expected = batch_norm_margin(algorithm.teacher.bn)
    assert torch.equal(algorithm.distiller.connectors['margin'].margin, expected)
    assert algorithm(**toy_batch(), mode='loss')['distill.loss_bn'] > 0


def test_a_source_that_is_no_batch_norm():
    with pytest.raises(UserError, match=r'distiller.teacher_recorders.bn.source: expected a BatchNorm .*Conv2d'):
        OverhaulFeatureDistillation(**config(source='conv1'))


def test_another_distiller_is_refused():
    with pytest.raises(UserError, match=r'distiller.type: expected OFDDistiller, got ConfigurableDistiller'):
        OverhaulFeatureDistillation(**algorithm_config())
