import pytest
import torch

from kd_plugins.connectors import TorchNNConnector
from kd_plugins.connectors.torch_nn_connector import MODULES
from kd_plugins.errors import UserError

MMRAZORS = (
    'AdaptiveAvgPool2d AdaptiveMaxPool2d AvgPool2d BatchNorm2d Conv2d Dropout Dropout2d Linear MaxPool2d ReLU Softmax'
)


def test_numbers_worked_out_by_hand():
    connector = TorchNNConnector('Linear', dict(in_features=2, out_features=1))
    connector.load_state_dict({'func.weight': torch.tensor([[2.0, 3.0]]), 'func.bias': torch.tensor([1.0])})
    feature = torch.tensor([[1.0, 10.0]], requires_grad=True)
    output = connector(feature)
    assert output.tolist() == [[33.0]]
    output.sum().backward()
    assert feature.grad.tolist() == [[2.0, 3.0]]
    assert connector.func.weight.grad.tolist() == [[1.0, 10.0]]


def test_a_module_without_arguments():
    assert TorchNNConnector('ReLU')(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_all_of_mmrazors_modules_and_more_are_there():
    assert {*MMRAZORS.split(), 'GELU', 'ConvTranspose2d', 'GroupNorm', 'Flatten'} <= MODULES.keys()


def test_init_cfg_is_obeyed():
    arguments = dict(in_channels=2, out_channels=3, kernel_size=1)
    connector = TorchNNConnector('Conv2d', arguments, dict(type='Constant', layer='Conv2d', val=0.25, bias=0.5))
    connector.init_weights()
    assert torch.equal(connector.func.weight, torch.full((3, 2, 1, 1), 0.25))
    assert torch.equal(connector.func.bias, torch.full((3,), 0.5))


@pytest.mark.parametrize(
    ('name', 'advice'),
    [
        ('avg_pool2d', "did you mean 'AvgPool2d'"),
        ('Conv2D', 'Conv2d'),
        # what cannot run
        ('ModuleList', ''),
        ('Module', ''),
        ('Parameter', ''),
        ('functional', ''),
        (None, ''),
    ],
)
def test_another_name_is_refused(name, advice):
    with pytest.raises(UserError, match='module_name: expected a module') as caught:
        TorchNNConnector(name)
    assert advice in str(caught.value)
