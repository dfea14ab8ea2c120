"""Connectors are worked out only for records whose spatial axes are certain."""

import pytest
from faulty import write
from mmengine.registry import MODELS
from torch import nn
from toy import ToyClassifier, runner_config

from kd_plugins.engine.config import load_config
from kd_plugins.preflight import inspect_training

LOSS = 'model.distiller.distill_losses.loss_a'


class Layout(nn.Module):
    """Permutes the axes of a map; may flatten two of them first."""

    def __init__(self, *order, flatten=False):
        super().__init__()
        self.order, self.flatten = order, flatten

    def forward(self, feature):
        feature = feature.flatten(2) if self.flatten else feature
        return feature.permute(self.order)


@MODELS.register_module()
class LayoutClassifier(ToyClassifier):
    """Gives its 4x4 map, of images of 8x8, in every layout; may take one size of images only."""

    def __init__(self, channels=8, one_size=False, **kwargs):
        super().__init__(channels, **kwargs)
        self.one_size = one_size
        self.first, self.last = Layout(0, 1, 2, 3), Layout(0, 2, 3, 1)
        self.tokens, self.flat = Layout(0, 2, 1, flatten=True), Layout(0, 1, 2, flatten=True)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if self.one_size and inputs.shape[-1] != 8:
            raise AssertionError('images of 8 x 8 are needed')
        feature = self.relu(self.conv1(inputs))[:, :, ::2, ::2]
        for layout in (self.first, self.last, self.tokens, self.flat):
            layout(feature)
        return super().forward(inputs, data_samples, mode)


def inspect(tmp_path, student, teacher, connector='auto', channels=(8, 16), one_size=False):
    loss = dict(type='L2Loss', student=student, teacher=teacher, connector=connector)
    models = [dict(type='LayoutClassifier', channels=count, one_size=one_size) for count in channels]
    model = dict(
        type='SingleTeacherDistill',
        architecture=models[0],
        teacher=models[1],
        distiller=dict(type='ConfigurableDistiller', distill_losses=dict(loss_a=loss)),
    )
    config = load_config(write(runner_config('unused', model=model), tmp_path / 'config.py'))
    config.work_dir = str(tmp_path / 'run')
    return inspect_training(config)


@pytest.mark.parametrize('one_size', [True, False])
@pytest.mark.parametrize(
    ('student', 'teacher', 'side', 'connector'),
    [
        ('first', 'last', 'teacher', 'auto'),
        ('last', 'first', 'student', 'auto'),
        ('last', 'first', 'student', dict(type='ConvModuleConnector')),
    ],
)
def test_a_map_with_channels_last_is_named(student, teacher, side, connector, one_size, tmp_path):
    (fault, *_) = inspect(tmp_path, student, teacher, connector, one_size=one_size).faults
    assert fault.where == f'{LOSS}.connector'
    channels = 16 if side == 'teacher' else 8
    assert fault.got == f'(2, 4, 4, {channels}) of the {side}, for images of 8 x 8: (N, H, W, C)'
    # what it advises is what makes the two meet
    assert 'size=(4, 4))], which makes it (N, C, H, W)' in fault.advice
    advised = [dict(type='TorchNNConnector', module_name='Flatten', module_args=dict(start_dim=1, end_dim=2))]
    advised += [dict(type='TokensToMapConnector', size=(4, 4))]
    if side == 'teacher':
        found = inspect(tmp_path, student, dict(source='last', connector=advised), connector, one_size=one_size)
        assert found.faults == []
        assert found.chosen[f'{LOSS}.connector']['in_channel'] == 8


def test_a_wrong_shape_is_not_answered_with_a_guess(tmp_path):
    (fault,) = inspect(tmp_path, 'first', 'last', connector=None).faults
    assert '(N, C, H, W)' in fault.advice
    assert 'ConvModule' not in fault.advice


class TestWhereTheShapeLeavesItOpen:
    """A map of as many channels as it is high and wide."""

    def test_the_size_of_the_images_decides(self, tmp_path):
        found = inspect(tmp_path, 'first', 'first', channels=(4, 16))
        assert found.faults == []
        assert found.chosen[f'{LOSS}.connector']['out_channel'] == 16
        (fault, *_) = inspect(tmp_path, 'last', 'first', channels=(4, 16)).faults
        assert fault.got == '(2, 4, 4, 4) of the student, for images of 8 x 8: (N, H, W, C)'

    def test_a_model_of_one_size_is_asked_about(self, tmp_path):
        (fault, *_) = inspect(tmp_path, 'first', 'first', channels=(4, 16), one_size=True).faults
        assert fault.got == '(2, 4, 4, 4) of the student, for images of 8 x 8: (N, C, H, W) or (N, H, W, C)'
        assert fault.advice == 'write the connector out, with its channels'
        written = dict(type='ConvModuleConnector', in_channel=4, out_channel=16)
        assert inspect(tmp_path, 'first', 'first', written, channels=(4, 16), one_size=True).faults == []


def test_tokens(tmp_path):
    found = inspect(tmp_path, 'tokens', 'tokens')
    assert found.faults == []
    assert found.chosen[f'{LOSS}.connector']['type'] == 'kd_plugins.LinearConnector'
    (fault, *_) = inspect(tmp_path, 'flat', 'tokens').faults
    assert fault.got == '(2, 8, 16) of the student, for images of 8 x 8: (N, C, L)'


def test_the_run_at_another_size_leaves_nothing_behind(tmp_path):
    found = inspect(tmp_path, 'first', 'first', channels=(4, 16))
    assert found.losses[0].sources[0].shape == (2, 4, 4, 4)
    # nor is it counted
    assert found.cost == inspect(tmp_path, 'tokens', 'tokens', channels=(4, 16)).cost
