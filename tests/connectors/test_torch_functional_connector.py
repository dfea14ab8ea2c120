import pytest
import torch
import torch.nn.functional as F

from kd_plugins.connectors import TorchFunctionalConnector
from kd_plugins.connectors.torch_functional_connector import FUNCTIONS
from kd_plugins.errors import UserError

MAP = torch.tensor([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]])
MMRAZORS = (
    'adaptive_avg_pool2d adaptive_max_pool2d avg_pool2d dropout dropout2d max_pool2d normalize relu softmax interpolate'
)


@pytest.mark.parametrize(
    ('name', 'arguments', 'expected'),
    [
        ('avg_pool2d', dict(kernel_size=2), [[[[3.5, 5.5]]]]),
        ('max_pool2d', dict(kernel_size=[2, 2]), [[[[6.0, 8.0]]]]),
        ('relu', None, MAP.tolist()),
        ('pad', dict(pad=(0, 0, 0, 1), value=9.0), [[[*MAP[0, 0].tolist(), [9.0] * 4]]]),
    ],
)
def test_numbers_worked_out_by_hand(name, arguments, expected):
    assert TorchFunctionalConnector(name, arguments)(MAP).tolist() == expected


def test_it_is_the_function_of_torch():
    feature = torch.randn(2, 4, 5, 5)
    output = TorchFunctionalConnector('normalize', dict(p=1, dim=(2, 3)))(feature)
    assert torch.equal(output, F.normalize(feature, p=1, dim=(2, 3)))


def test_gradient_flows_through():
    feature = torch.randn(2, 4, 6, 6, requires_grad=True)
    TorchFunctionalConnector('avg_pool2d', dict(kernel_size=2))(feature).sum().backward()
    assert torch.equal(feature.grad, torch.full((2, 4, 6, 6), 0.25))


def test_all_of_mmrazors_functions_and_more_are_there():
    assert {*MMRAZORS.split(), 'leaky_relu', 'gelu', 'unfold', 'log_softmax', 'pixel_shuffle'} <= FUNCTIONS.keys()


def test_it_has_no_weights_and_says_what_it_is():
    connector = TorchFunctionalConnector('avg_pool2d', dict(kernel_size=2))
    assert not connector.state_dict()
    assert repr(connector) == 'TorchFunctionalConnector(avg_pool2d, kernel_size=2)'


@pytest.mark.parametrize(
    ('name', 'advice'),
    [
        ('avgpool2d', "did you mean 'avg_pool2d'"),
        ('AvgPool2d', 'avg_pool2d'),
        # names that torch.nn.functional only imports, or keeps for itself
        ('boolean_dispatch', ''),
        ('has_torch_function', ''),
        ('handle_torch_function', ''),
        ('Tensor', ''),
        ('torch', ''),
        ('__import__', ''),
        ('_pad', ''),
        (None, ''),
    ],
)
def test_another_name_is_refused(name, advice):
    with pytest.raises(UserError, match='function_name: expected a function') as caught:
        TorchFunctionalConnector(name)
    assert advice in str(caught.value)
