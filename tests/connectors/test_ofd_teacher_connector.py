import pytest
import torch

from kd_plugins.connectors import OFDTeacherConnector
from kd_plugins.errors import UserError


def connector_of(*margin):
    connector = OFDTeacherConnector()
    connector.init_margin(torch.tensor(margin).view(1, -1, 1, 1))
    return connector


def test_numbers_worked_out_by_hand():
    feature = torch.tensor([[[[-2.0, 3.0]], [[-2.0, -0.5]]]])
    assert connector_of(-1.0, -0.25)(feature).tolist() == [[[[-1.0, 3.0]], [[-0.25, -0.25]]]]


def test_no_gradient_reaches_the_teacher():
    feature = torch.randn(2, 3, 4, 4, requires_grad=True)
    assert not connector_of(-1.0, -1.0, -1.0)(feature).requires_grad


def test_the_margin_moves_with_the_connector_and_stays_out_of_checkpoints():
    connector = connector_of(-1.0)
    assert not connector.state_dict()
    assert connector.to(torch.float64).margin.dtype == torch.float64
    assert connector.to('meta').margin.device.type == 'meta'


def test_the_margin_may_be_set_again():
    connector = connector_of(-1.0)
    connector.init_margin(torch.full((1, 1, 1, 1), -3.0))
    assert connector(torch.full((1, 1, 1, 1), -9.0)).item() == -3


def test_without_a_margin():
    with pytest.raises(UserError, match='margin: expected') as caught:
        OFDTeacherConnector()(torch.rand(2, 3, 4, 4))
    assert 'OverhaulFeatureDistillation and OFDDistiller' in str(caught.value)


@pytest.mark.parametrize('margin', [torch.rand(3), torch.rand(3, 1, 1), -1.0])
def test_a_margin_of_another_shape(margin):
    with pytest.raises(UserError, match='margin: expected a margin per channel'):
        OFDTeacherConnector().init_margin(margin)


def test_a_feature_of_other_channels():
    with pytest.raises(UserError) as caught:
        connector_of(-1.0, -1.0)(torch.rand(2, 3, 4, 4))
    assert "got (2, 3, 4, 4); record the teacher's BatchNorm" in str(caught.value)
