import pytest
import torch
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn
from toy import ToyClassifier, count_hooks, distiller_config

from kd_plugins.build import build_component
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.errors import UserError
from kd_plugins.losses import KLDivergence, L2Loss
from kd_plugins.registry import MODELS


@MMENGINE_MODELS.register_module()
class TwoWays(nn.Module):
    """A connector that returns a tuple."""

    def forward(self, feature):
        return feature * 2, feature * 3


@MMENGINE_MODELS.register_module()
class Distracted(nn.Module):
    """A connector with a bug of its own."""

    def forward(self, feature):
        raise RuntimeError('the disk is full')


def make(config, student=None, teacher=None):
    """A distiller whose recorders hold one forward of both toy models."""
    config.pop('type')
    student, teacher = student or ToyClassifier(4), teacher or ToyClassifier(6)
    distiller = ConfigurableDistiller(**config)
    distiller.prepare_from_student(student)
    distiller.prepare_from_teacher(teacher)
    images = torch.randn(2, 3, 8, 8)
    with distiller.student_recorders:
        student(images)
    with distiller.teacher_recorders:
        teacher(images)
    return distiller


def records_of(distiller):
    return (
        {name: list(recorder._records) for name, recorder in distiller.student_recorders.recorders.items()},
        {name: list(recorder._records) for name, recorder in distiller.teacher_recorders.recorders.items()},
    )


def test_losses_are_those_of_the_mapped_records():
    distiller = make(distiller_config())
    student, teacher = records_of(distiller)
    losses = distiller.compute_distill_losses()
    widened = distiller.connectors['widen'](student['feature'][1])
    assert list(losses) == ['loss_feature', 'loss_logits']
    assert torch.equal(losses['loss_feature'], L2Loss(2)(widened, teacher['feature'][1]))
    assert torch.equal(losses['loss_logits'], KLDivergence(4)(student['logits'][0], teacher['logits'][0]))


def test_records_are_gone_after_the_losses():
    distiller = make(distiller_config())
    distiller.compute_distill_losses()
    assert records_of(distiller) == ({'feature': [], 'logits': []}, {'feature': [], 'logits': []})


def test_connectors_learn_and_have_their_names():
    distiller = make(distiller_config())
    sum(distiller.compute_distill_losses().values()).backward()
    names = dict(distiller.named_parameters())
    assert set(names) == {f'connectors.widen.conv_module.{name}' for name in ('conv.weight', 'bn.weight', 'bn.bias')}
    assert all(parameter.grad is not None for parameter in names.values())


def test_a_list_of_connectors_is_passed_in_sequence():
    config = distiller_config()
    step = dict(type='ConvModuleConnector', act_cfg=None)
    config['connectors']['widen'] = [dict(step, in_channel=4, out_channel=5), dict(step, in_channel=5, out_channel=6)]
    distiller = make(config)
    student, teacher = records_of(distiller)
    first, second = distiller.connectors['widen']
    expected = L2Loss(2)(second(first(student['feature'][1])), teacher['feature'][1])
    assert torch.equal(distiller.compute_distill_losses()['loss_feature'], expected)


def test_a_connector_on_the_teachers_side():
    config = distiller_config()
    narrow = dict(type='ConvModuleConnector', in_channel=6, out_channel=4)
    config['connectors'] = dict(narrow=narrow)
    mapping = config['loss_forward_mappings']['loss_feature']
    mapping['s_feature'].pop('connector')
    mapping['t_feature']['connector'] = 'narrow'
    assert make(config).compute_distill_losses()['loss_feature'].isfinite()


def test_connector_idx():
    config = distiller_config()
    config['connectors'] = dict(widen=dict(type='TwoWays'))
    mapping = config['loss_forward_mappings']
    mapping['loss_feature']['s_feature']['connector_idx'] = 1
    distiller = make(config, student=ToyClassifier(6))
    student, teacher = records_of(distiller)
    expected = L2Loss(2)(student['feature'][1] * 3, teacher['feature'][1])
    assert torch.equal(distiller.compute_distill_losses()['loss_feature'], expected)


def test_a_connector_that_returns_no_such_element():
    relu = dict(type='TorchNNConnector', module_name='ReLU')
    for connector, got in ((dict(type='TwoWays'), 'a tuple with 2 elements'), (relu, 'a Tensor without elements')):
        config = distiller_config()
        config['connectors'] = dict(widen=connector)
        config['loss_forward_mappings']['loss_feature']['s_feature']['connector_idx'] = 5
        with pytest.raises(UserError, match=f'connector_idx=5 of {got}') as caught:
            make(config, student=ToyClassifier(6)).compute_distill_losses()
        assert caught.value.faults[0].where == 'loss_forward_mappings.loss_feature.s_feature.connector_idx'


def test_data_idx():
    config = distiller_config()
    for side in ('student_recorders', 'teacher_recorders'):
        config[side] = dict(pooled=dict(type='ModuleInputs', source='fc'))
    config['connectors'] = {}
    config['distill_losses'] = dict(loss_pooled=dict(type='L2Loss'))
    config['loss_forward_mappings'] = dict(
        loss_pooled=dict(
            s_feature=dict(recorder='pooled', from_student=True, data_idx=0),
            t_feature=dict(recorder='pooled', from_student=False, data_idx=0),
        )
    )
    distiller = make(config, student=ToyClassifier(6))
    student, teacher = records_of(distiller)
    expected = L2Loss()(student['pooled'][0][0], teacher['pooled'][0][0])
    assert torch.equal(distiller.compute_distill_losses()['loss_pooled'], expected)


def test_a_forgotten_data_idx_is_advised():
    config = distiller_config()
    config['student_recorders']['logits'] = dict(type='ModuleInputs', source='fc')
    with pytest.raises(UserError, match=r'loss_forward_mappings\.loss_logits\.preds_S: .*got a tuple; .*data_idx'):
        make(config).compute_distill_losses()


def test_one_record_may_feed_two_losses():
    config = distiller_config()
    config['distill_losses']['loss_again'] = dict(type='L2Loss')
    config['loss_forward_mappings']['loss_again'] = dict(
        s_feature=dict(recorder='logits', from_student=True), t_feature=dict(recorder='logits', from_student=False)
    )
    assert list(make(config).compute_distill_losses()) == ['loss_again', 'loss_feature', 'loss_logits']


def test_a_wrong_record_idx_says_where_and_how_often():
    config = distiller_config()
    config['loss_forward_mappings']['loss_feature']['t_feature']['record_idx'] = 2
    with pytest.raises(UserError) as caught:
        make(config).compute_distill_losses()
    assert caught.value.faults[0].where == 'loss_forward_mappings.loss_feature.t_feature.record_idx'
    assert 'ran twice' in str(caught.value)


def test_shapes_that_do_not_meet_name_the_loss_and_both_shapes():
    config = distiller_config()
    config['loss_forward_mappings']['loss_feature']['s_feature'].pop('connector')
    config['connectors'] = {}
    with pytest.raises(UserError) as caught:
        make(config).compute_distill_losses()
    message = str(caught.value)
    assert message.startswith('distill_losses.loss_feature: expected tensors of the same shape, got s_feature')
    assert '(2, 4, 8, 8)' in message
    assert '(2, 6, 8, 8)' in message
    assert "dict(type='ConvModuleConnector', in_channel=4, out_channel=6)" in message


def test_a_connector_with_the_wrong_in_channel_is_named():
    config = distiller_config()
    config['connectors']['widen']['in_channel'] = 5
    with pytest.raises(UserError) as caught:
        make(config).compute_distill_losses()
    message = str(caught.value)
    assert message.startswith('connectors.widen.in_channel: ')
    assert '(2, 4, 8, 8)' in message
    assert 'set in_channel to 4' in message
    assert 'loss_forward_mappings.loss_feature.s_feature' in message


def test_a_bug_in_a_connector_is_not_taken_for_a_users_mistake():
    config = distiller_config()
    config['connectors']['widen'] = dict(type='Distracted')
    with pytest.raises(RuntimeError, match='the disk is full'):
        make(config).compute_distill_losses()


@pytest.mark.parametrize(
    ('key', 'value', 'where'),
    [
        ('distill_losses', dict(loss_a=dict(type='L2Los')), r"distill_losses\.loss_a\.type: .*did you mean 'L2Loss'"),
        ('distill_losses', dict(loss_a=dict(type='KLDivergence', tau=0)), r'distill_losses\.loss_a\.tau: '),
        ('distill_losses', dict(loss_a=dict(type='L2Loss', weight=1)), r'distill_losses\.loss_a\.weight: '),
        ('connectors', dict(a=[dict(type='ConvModuleConnector', in_channel=4)]), r'connectors\.a: .*with its channels'),
        ('connectors', dict(a='auto'), r"connectors\.a: expected a connector with its channels, got 'auto'; start it "),
        ('connectors', dict(a=[dict(type='Nix')]), r'connectors\.a\.0\.type: expected a registered model'),
        ('connectors', dict(a=3), r'connectors\.a: expected a dict with the key type'),
        ('connectors', dict(a=[]), r'connectors\.a: expected a dict with the key type, got \[\]'),
        ('student_recorders', dict(a=dict(type='Outputs', source='')), r'student_recorders\.a\.type: '),
        ('loss_forward_mappings', dict(loss_z={}), r'loss_forward_mappings\.loss_z: '),
    ],
)
def test_faults_have_their_key_path_from_the_distiller_on(key, value, where):
    config = distiller_config()
    config[key] = value
    with pytest.raises(UserError, match='distiller.' + where):
        build_component(MODELS, config, 'distiller')


def test_a_source_that_is_missing_is_named_with_its_recorder():
    config = distiller_config()
    config['teacher_recorders']['feature']['source'] = 'rellu'
    with pytest.raises(UserError, match=r"teacher_recorders\.feature\.source: .* got 'rellu'; did you mean 'relu'"):
        make(config)


def test_detach_leaves_both_models_as_they_were():
    student, teacher = ToyClassifier(4), ToyClassifier(6)
    distiller = make(distiller_config(), student, teacher)
    assert count_hooks(student) == count_hooks(teacher) == 2
    distiller.detach()
    assert count_hooks(student) == count_hooks(teacher) == 0


def test_a_distiller_of_nothing_is_refused():
    with pytest.raises(UserError, match='distill_losses: expected at least one loss'):
        make(dict(type=''))


def test_what_has_no_effect_is_refused_all_at_once():
    config = distiller_config()
    config['distill_losses'].update(loss_idle=dict(type='L2Loss'), kd=dict(type='KLDivergence'))
    config['loss_forward_mappings']['kd'] = config['loss_forward_mappings']['loss_logits']
    config['connectors']['idle'] = dict(type='ConvModuleConnector', in_channel=1, out_channel=1)
    config['student_recorders']['idle'] = dict(type='ModuleOutputs', source='conv1')
    with pytest.raises(UserError) as caught:
        make(config)
    assert [(fault.where, fault.expected) for fault in caught.value.faults] == [
        ('distill_losses.kd', "a name that contains 'loss'"),
        ('distill_losses.loss_idle', 'a loss with its sources, or one that loss_forward_mappings feeds'),
        ('connectors.idle', 'a connector that a loss uses'),
        ('student_recorders.idle', 'a recorder that a loss uses'),
    ]


def test_faults_of_all_parts_are_said_at_once():
    config = distiller_config()
    config['student_recorders']['feature']['type'] = 'ModuleOutput'
    config['connectors']['widen']['in_chanel'] = 1
    config['distill_losses']['loss_logits']['tau'] = 0
    with pytest.raises(UserError) as caught:
        make(config)
    assert [fault.where for fault in caught.value.faults] == [
        'student_recorders.feature.type',
        'connectors.widen.in_chanel',
        'distill_losses.loss_logits.tau',
    ]


def test_a_comma_too_many():
    config = distiller_config()
    config['distill_losses'] = (config['distill_losses'],)
    with pytest.raises(UserError, match='distill_losses: expected a dict by name, got a tuple'):
        make(config)


@pytest.mark.parametrize('change', [dict(norm_cfg=dict(type='BNN')), dict(order=('conv', 'act'))])
def test_an_argument_that_mmcv_refuses(change):
    config = distiller_config()
    config['connectors']['widen'].update(change)
    with pytest.raises(UserError, match=r'connectors\.widen: expected arguments that ConvModuleConnector takes'):
        make(config)


def test_a_loss_with_open_arguments():
    @MMENGINE_MODELS.register_module(force=True)
    class OpenLoss(nn.Module):
        def forward(self, preds, **others):
            return preds.sum()

    config = distiller_config()
    config['distill_losses']['loss_logits'] = dict(type='OpenLoss')
    records = config['loss_forward_mappings']['loss_logits']
    config['loss_forward_mappings']['loss_logits'] = dict(preds=records['preds_S'], extra=records['preds_T'])
    assert 'loss_logits' in make(config).compute_distill_losses()
