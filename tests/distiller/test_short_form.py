"""The short form becomes the same spec as the long form, and each of its faults is told."""

import pytest
import torch
from torch import nn
from toy import ToyClassifier, distiller_config

from kd_plugins.build import Declared
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.distiller.reading import read_config
from kd_plugins.distiller.spec import LossSpec, RecordSpec
from kd_plugins.errors import UserError

WIDEN = dict(type='ConvModuleConnector', in_channel=4, out_channel=6)


class Labelled(nn.Module):
    def forward(self, preds_S, preds_T, gt_labels, weight=None):  # noqa: N803
        return ((preds_S - preds_T).sum(1) * gt_labels).mean()


class Swapped(nn.Module):
    def forward(self, t_feature, s_feature):
        return (s_feature - t_feature).mean()


class OfTeacher(nn.Module):
    def forward(self, feat_T):  # noqa: N803
        return feat_T.mean()


class Unnamed(nn.Module):
    def forward(self, a, b):
        return (a - b).mean()


class Anything(nn.Module):
    def forward(self, preds, **others):
        return preds.mean()


def read(**loss):
    return read_config(distill_losses=dict(loss_a={'type': 'L2Loss', **loss}))


def spec_of(**loss):
    spec, faults = read(**loss)
    assert faults == []
    return spec


def faults_of(**loss):
    return {fault.where.removeprefix('distill_losses.loss_a'): fault for fault in read(**loss)[1]}


def test_two_paths_become_recorders_and_a_mapping():
    spec = spec_of(student='backbone.layer4', teacher='backbone.layer3', mult=2)
    outputs = {'type': 'ModuleOutputs'}
    where = 'distill_losses.loss_a'
    assert spec.student_recorders == {
        'loss_a.s_feature': Declared({**outputs, 'source': 'backbone.layer4'}, f'{where}.student', 'source')
    }
    assert spec.teacher_recorders == {
        'loss_a.t_feature': Declared({**outputs, 'source': 'backbone.layer3'}, f'{where}.teacher', 'source')
    }
    assert spec.losses == {'loss_a': Declared(dict(type='L2Loss', mult=2), where)}
    assert spec.mappings == (
        LossSpec(
            'loss_a',
            dict(
                s_feature=RecordSpec('loss_a.s_feature', from_student=True),
                t_feature=RecordSpec('loss_a.t_feature', from_student=False),
            ),
        ),
    )
    assert spec.mappings[0].pair == ('s_feature', 't_feature')


def test_a_source_in_full():
    source = dict(type='ModuleInputs', source='head', record_idx=1, data_idx=0, connector=WIDEN, connector_idx=2)
    spec = spec_of(student=source, teacher='head.fc')
    assert spec.student_recorders['loss_a.s_feature'].config == dict(type='ModuleInputs', source='head')
    assert spec.mappings[0].arguments['s_feature'] == RecordSpec('loss_a.s_feature', True, 1, 0, 'loss_a_s_feature', 2)
    assert spec.connectors == {'loss_a_s_feature': Declared(WIDEN, 'distill_losses.loss_a.student.connector')}


def test_the_connector_of_a_loss_is_for_the_students_tensor():
    for connector in (WIDEN, [WIDEN, WIDEN], 'auto'):
        spec = spec_of(student='a', teacher='b', connector=connector)
        assert spec.mappings[0].arguments['s_feature'].connector == 'loss_a_s_feature'
        assert spec.mappings[0].arguments['t_feature'].connector is None
        assert spec.connectors['loss_a_s_feature'] == Declared(connector, 'distill_losses.loss_a.connector')


def test_a_connector_that_is_declared_by_name():
    losses = dict(loss_a=dict(type='L2Loss', student='a', teacher='b', connector='widen'))
    spec, faults = read_config(connectors=dict(widen=WIDEN), distill_losses=losses)
    assert faults == []
    assert spec.mappings[0].arguments['s_feature'].connector == 'widen'


def test_names_tell_which_argument_is_whose():
    assert list(spec_of(type=Swapped, student='a', teacher='b').mappings[0].arguments) == ['s_feature', 't_feature']
    swapped = spec_of(type=Swapped, student='a', teacher='b').mappings[0]
    assert swapped.arguments['s_feature'].from_student
    assert swapped.pair == ('s_feature', 't_feature')
    assert spec_of(type=OfTeacher, teacher='b').mappings[0].arguments['feat_T'].from_student is False
    unnamed = spec_of(type=Unnamed, student='a', teacher='b').mappings[0]
    assert [record.from_student for record in (unnamed.arguments['a'], unnamed.arguments['b'])] == [True, False]


def test_further_arguments_by_name():
    labels = dict(type='ModuleInputs', source='head.loss_module', data_idx=1)
    spec = spec_of(type=Labelled, student=dict(preds_S='head.fc', gt_labels=labels), teacher='head.fc')
    arguments = spec.mappings[0].arguments
    assert arguments['gt_labels'] == RecordSpec('loss_a.gt_labels', True, None, 1)
    assert arguments['preds_T'].from_student is False
    assert list(spec_of(type=Anything, student=dict(preds='a', extra='b')).mappings[0].arguments) == ['preds', 'extra']


@pytest.mark.parametrize(
    ('loss', 'where', 'expected', 'got', 'advice'),
    [
        (dict(student='a'), '', 'a record for t_feature of L2Loss', 'none', "add teacher='MODULE'"),
        (dict(teacher='a'), '', 'a record for s_feature of L2Loss', 'none', "add student='MODULE'"),
        (dict(student='a', teacher=3), '.teacher', 'a module path, or dict(', '3', "'backbone.layer4'"),
        (dict(student='a', teacher=dict(t_feature=3)), '.teacher.t_feature', 'a module path', '3', 'backbone'),
        (
            dict(student='a', teacher=dict(sorce='b')),
            '.teacher.sorce',
            'the key source, or an argument of L2Loss.forward',
            "'sorce'",
            "did you mean 'source'?",
        ),
        (
            dict(student='a', teacher=dict(source='b', record_idx='1')),
            '.teacher.record_idx',
            'a whole number',
            "'1'",
            'correct it',
        ),
        (dict(student='a', teacher='b', connector=3), '.connector', "'auto', a dict(type=…)", '3', "'auto'"),
        (dict(student='a', teacher='b', connector='wide'), '.connector', 'a name in connectors', "'wide'", 'auto'),
        (
            dict(student=dict(source='a', connector=WIDEN), teacher='b', connector=WIDEN),
            '.connector',
            'one connector',
            'another in the source',
            'remove one',
        ),
        (dict(student=dict(s_feature='a'), teacher=dict(s_feature='b', t_feature='b')), '.teacher.s_feature',
         'one source of s_feature', 'two', 'remove one'),
        (dict(type=Labelled, student='a', teacher='b'), '', 'a record for gt_labels of Labelled', 'none',
         'student=dict(gt_labels=…)'),
        (dict(type=OfTeacher, student='a', teacher='b'), '.student', 'an argument of OfTeacher.forward',
         'none for the student: it takes feat_T', "student=dict(ARGUMENT='…')"),
    ],
)  # fmt: skip
def test_each_fault(loss, where, expected, got, advice):
    faults = faults_of(**loss)
    fault = faults[where]
    assert expected in fault.expected
    assert got in fault.got
    assert advice in fault.advice


def test_both_forms_for_one_loss():
    config = distiller_config()
    config['distill_losses']['loss_logits'].update(student='fc', teacher='fc')
    config.pop('type')
    faults = read_config(**config)[1]
    assert [(fault.where, fault.expected) for fault in faults] == [
        ('loss_forward_mappings.loss_logits', 'one form for a loss')
    ]


@pytest.mark.parametrize('name', ['loss.kl', 'pop_loss.', ''])
def test_names_that_no_module_can_have(name):
    losses = {name: dict(type='L2Loss', student='a', teacher='b')}
    faults = read_config(distill_losses=losses)[1]
    assert f'distill_losses.{name}' in [fault.where for fault in faults]


def losses_of(config, student, teacher):
    torch.manual_seed(0)
    distiller = ConfigurableDistiller(**config)
    torch.manual_seed(1)
    for weight in distiller.parameters():
        nn.init.normal_(weight)
    distiller.prepare_from_student(student)
    distiller.prepare_from_teacher(teacher)
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    with distiller.student_recorders:
        student(images)
    with distiller.teacher_recorders:
        teacher(images)
    return distiller.compute_distill_losses()


def test_both_forms_give_the_same_losses_to_the_bit():
    student, teacher = ToyClassifier(4).eval(), ToyClassifier(6).eval()
    long = distiller_config()
    long.pop('type')
    mixed = distiller_config()
    mixed.pop('type')
    feature = dict(source='relu', record_idx=1)
    widen = long['connectors']['widen']
    short_feature = dict(type='L2Loss', loss_weight=2, student=feature, teacher=feature, connector=widen)
    short_logits = dict(type='KLDivergence', tau=4, student='fc', teacher='fc')
    mixed['distill_losses']['loss_logits'] = short_logits
    for key in ('student_recorders', 'teacher_recorders'):
        mixed[key].pop('logits')
    mixed['loss_forward_mappings'].pop('loss_logits')
    short = dict(distill_losses=dict(loss_feature=short_feature, loss_logits=short_logits))

    expected = losses_of(long, student, teacher)
    for config in (short, mixed):
        losses = losses_of(config, student, teacher)
        assert list(losses) == list(expected)
        assert all(torch.equal(losses[name], expected[name]) for name in expected)


def test_a_source_that_is_not_in_the_model_is_named_where_it_was_written():
    losses = dict(loss_a=dict(type='L2Loss', student='rellu', teacher=dict(source='rellu', record_idx=0)))
    distiller = ConfigurableDistiller(distill_losses=losses)
    for prepare, where in (
        (distiller.prepare_from_student, 'distill_losses.loss_a.student'),
        (distiller.prepare_from_teacher, 'distill_losses.loss_a.teacher.source'),
    ):
        with pytest.raises(UserError, match="did you mean 'relu'") as caught:
            prepare(ToyClassifier())
        assert caught.value.faults[0].where == where


def test_connector_idx_needs_a_connector():
    source = dict(source='a', connector_idx=0)
    for side, loss in (
        ('student', dict(student=source, teacher='b')),
        ('teacher', dict(student='a', teacher=source)),
        # the connector of a loss is for its student
        ('teacher', dict(student='a', teacher=source, connector=WIDEN)),
    ):
        faults = faults_of(**loss)
        assert list(faults) == [f'.{side}.connector_idx']
        assert 'data_idx' in faults[f'.{side}.connector_idx'].advice


def test_connector_idx_of_the_connector_of_a_loss():
    spec = spec_of(student=dict(source='a', connector_idx=1), teacher='b', connector=WIDEN)
    assert spec.mappings[0].arguments['s_feature'].connector_idx == 1
