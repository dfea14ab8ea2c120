import copy

import pytest
from torch import nn

from kd_plugins.distiller.reading import read_config
from kd_plugins.distiller.spec import LossSpec, RecordSpec
from kd_plugins.errors import UserError


class WithDefault(nn.Module):
    def forward(self, a, b=None):
        return a


LOSSES = {
    'loss_a': dict(type='L2Loss'),
    'loss_kl': dict(type='KLDivergence'),
    'loss_default': dict(type=WithDefault),
}
GOOD = dict(
    loss_a=dict(
        s_feature=dict(recorder='layer4', from_student=True, record_idx=1, connector='widen', connector_idx=0),
        t_feature=dict(recorder='stage4', from_student=False, data_idx=-1),
    )
)


def parse(mappings):
    """The specs of a mapping; raises the faults of the mappings alone."""
    source = dict(type='ModuleOutputs', source='x')
    connectors = dict(widen=dict(type='ConvModuleConnector', in_channel=1, out_channel=1))
    spec, faults = read_config(dict(layer3=source, layer4=source), dict(stage4=source), connectors, LOSSES, mappings)
    of_mappings = [fault for fault in faults if fault.where.startswith('loss_forward_mappings')]
    if of_mappings:
        raise UserError(*of_mappings)
    return spec.mappings


def spoilt(**changes):
    mappings = copy.deepcopy(GOOD)
    mappings['loss_a']['s_feature'].update(changes)
    return mappings


def test_a_good_mapping_becomes_a_frozen_spec():
    (spec,) = parse(GOOD)
    assert spec == LossSpec(
        'loss_a',
        dict(
            s_feature=RecordSpec('layer4', True, 1, None, 'widen', 0),
            t_feature=RecordSpec('stage4', False, None, -1, None, None),
        ),
    )
    with pytest.raises(AttributeError):
        spec.name = 'other'


def test_none_stands_for_left_out():
    (spec,) = parse(spoilt(connector=None, connector_idx=None, data_idx=None, record_idx=1))
    assert spec.arguments['s_feature'] == RecordSpec('layer4', True, 1)


def test_an_argument_with_a_default_may_be_left_out():
    (spec,) = parse(dict(loss_default=dict(a=dict(recorder='layer3', from_student=True))))
    assert list(spec.arguments) == ['a']


@pytest.mark.parametrize(
    ('mappings', 'expected'),
    [
        (
            dict(loss_b={}),
            "loss_forward_mappings.loss_b: expected the name of a loss in distill_losses, got 'loss_b'; "
            "did you mean 'loss_a'",
        ),
        (
            dict(loss_a=3),
            'loss_forward_mappings.loss_a: expected a dict of the arguments of the loss, got 3; write one',
        ),
        (
            dict(loss_a=dict(GOOD['loss_a'], preds_S=GOOD['loss_a']['s_feature'])),
            "loss_forward_mappings.loss_a.preds_S: expected an argument of L2Loss.forward, got 'preds_S'; "
            'choose one of s_feature, t_feature',
        ),
        (
            dict(loss_a=dict(s_feature=GOOD['loss_a']['s_feature'])),
            'loss_forward_mappings.loss_a: expected a record for t_feature of L2Loss, got none; '
            'add t_feature=dict(recorder=…, from_student=…)',
        ),
        (
            dict(loss_a=dict(GOOD['loss_a'], s_feature='layer4')),
            "loss_forward_mappings.loss_a.s_feature: expected a dict with recorder and from_student, got 'layer4'; "
            'write one',
        ),
        (
            spoilt(record_index=1),
            "loss_forward_mappings.loss_a.s_feature.record_index: expected a key of a record, got 'record_index'; "
            "did you mean 'record_idx'",
        ),
        (
            dict(loss_a=dict(GOOD['loss_a'], s_feature=dict(recorder='layer4'))),
            'loss_forward_mappings.loss_a.s_feature: expected the key from_student, got recorder; add from_student=…',
        ),
        (
            dict(loss_a=dict(GOOD['loss_a'], s_feature=dict(from_student=True))),
            'loss_forward_mappings.loss_a.s_feature: expected the key recorder, got from_student; add recorder=…',
        ),
        (
            spoilt(record_idx='1'),
            "loss_forward_mappings.loss_a.s_feature.record_idx: expected a whole number, got '1'; correct it",
        ),
        (
            spoilt(data_idx=True),
            'loss_forward_mappings.loss_a.s_feature.data_idx: expected a whole number, got True; correct it',
        ),
        (
            spoilt(connector_idx=1.5),
            'loss_forward_mappings.loss_a.s_feature.connector_idx: expected a whole number, got 1.5; correct it',
        ),
        (
            spoilt(connector=None),
            'loss_forward_mappings.loss_a.s_feature.connector_idx: expected a connector that returns several, '
            'got connector_idx=0; an element of the record itself is data_idx',
        ),
        (
            spoilt(from_student='yes'),
            "loss_forward_mappings.loss_a.s_feature.from_student: expected True or False, got 'yes'; correct it",
        ),
        (
            spoilt(recorder='layer5'),
            "loss_forward_mappings.loss_a.s_feature.recorder: expected a name in student_recorders, got 'layer5'; "
            'did you mean ',
        ),
        (
            spoilt(from_student=False),
            "loss_forward_mappings.loss_a.s_feature.recorder: expected a name in teacher_recorders, got 'layer4'; ",
        ),
        (
            spoilt(connector='wide'),
            "loss_forward_mappings.loss_a.s_feature.connector: expected a name in connectors, got 'wide'; "
            "did you mean 'widen'?",
        ),
    ],
)
def test_each_fault_has_its_key_path_and_advice(mappings, expected):
    with pytest.raises(UserError) as caught:
        parse(mappings)
    assert len(caught.value.faults) == 1
    assert expected in str(caught.value)


def test_all_faults_are_collected():
    mappings = spoilt(recorder='layer5', connector='wide')
    mappings['loss_b'] = {}
    mappings['loss_kl'] = dict(preds_S=dict(recorder='layer3', from_student=True, idx=0))
    with pytest.raises(UserError) as caught:
        parse(mappings)
    assert [fault.where for fault in caught.value.faults] == [
        'loss_forward_mappings.loss_a.s_feature.recorder',
        'loss_forward_mappings.loss_a.s_feature.connector',
        'loss_forward_mappings.loss_kl',
        'loss_forward_mappings.loss_kl.preds_S.idx',
        'loss_forward_mappings.loss_b',
    ]
