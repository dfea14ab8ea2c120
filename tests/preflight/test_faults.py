"""Each fault alone, in the long and in the short form: one message with key path, expected, got and what to do."""

from __future__ import annotations

import gc
import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from faulty import digits_config, drop, good_config, put, write
from mmengine.config import Config

from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import complete_config
from kd_plugins.errors import Fault
from kd_plugins.preflight import inspect_training
from tools import check_config, train

FORMS = ('long', 'short')
D = 'model.distiller'
LOSSES = f'{D}.distill_losses'
FEATURE = f'{LOSSES}.loss_feature'
KL = f'{LOSSES}.loss_kl'
MAPPINGS = f'{D}.loss_forward_mappings'
S_FEATURE = f'{MAPPINGS}.loss_feature.s_feature'
T_FEATURE = f'{MAPPINGS}.loss_feature.t_feature'
BLOCK = re.compile(r'^error: (.*)\n  expected: (.*)\n  got:      (.*)\n  to do:    (.*)$', re.MULTILINE)


def refusals(config, tmp_path, capsys) -> list[Fault]:
    """Run tools/train.py; it must refuse and leave nothing behind. Returns the faults that it printed."""
    path, work_dir = write(config, tmp_path / 'config.py'), tmp_path / 'parent' / 'run'
    status = train.main([str(path), '--work-dir', str(work_dir)])
    printed = capsys.readouterr()
    assert status == 2
    assert 'Traceback' not in printed.out + printed.err
    assert not work_dir.parent.exists()
    faults = [Fault(*parts) for parts in BLOCK.findall(printed.err)]
    assert printed.err.count('error: ') == len(faults)  # each message has all four parts
    return faults


def findings_of(config, tmp_path):
    """What the preflight finds."""
    config = load_config(write(config, tmp_path / 'config.py'))
    config.work_dir = str(tmp_path / 'run')
    complete_config(config)
    return inspect_training(config)


def is_about(fault: Fault, where: str, expected: str, got: str, advice: str) -> bool:
    return (
        fault.where == where
        and expected in fault.expected
        and got in fault.got
        and all(part in fault.advice for part in advice.split(' … '))
    )


def listed(faults: list[Fault]) -> str:
    return '\n'.join(map(str, faults))


def place(form: str, long: str, short: str) -> str:
    return {'long': long, 'short': short}[form]


@pytest.fixture
def check(tmp_path, capsys):
    """Assert that a broken config is refused with one message, which says this."""

    def check(config: dict[str, Any], where: str, expected: str, got: str, advice: str) -> None:
        faults = refusals(config, tmp_path, capsys)
        assert [fault.where for fault in faults] == [where], listed(faults)
        assert is_about(faults[0], where, expected, got, advice), listed(faults)

    return check


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def config(form):
    return good_config(form)


# the configs are good before they are broken


def test_good(config, tmp_path):
    findings = findings_of(config, tmp_path)
    assert findings.faults == []
    # nothing but the toy's teacher, which has random weights
    assert [fault.where for fault in findings.warnings] == ['model.teacher']
    assert findings.without_gradient == []


def test_good_digits(tmp_path):
    assert findings_of(digits_config(), tmp_path).faults == []


def test_good_with_the_collate_function_of_the_config(form, config, tmp_path):
    """mmengine's own data_preprocessor does not stack images: the config's collate_fn does."""
    drop(config, 'model.data_preprocessor')
    put(config, 'train_dataloader.collate_fn', dict(type='default_collate'))
    assert findings_of(config, tmp_path).faults == []


# unknown keys


def unknown_keys():
    both = [
        ('model.teacher_trainabel', 'an argument of SingleTeacherDistill', "'teacher_trainable'"),
        ('model.architecture.chanels', 'an argument of FaultyClassifier', "'channels'"),
        ('model.teacher.num_clases', 'an argument of FaultyClassifier', "'num_classes'"),
        (f'{D}.distill_lossess', 'an argument of ConfigurableDistiller', "'distill_losses'"),
        (f'{KL}.taau', 'an argument of KLDivergence', "'tau'"),
        (f'{FEATURE}.normalise', 'an argument of L2Loss', "'normalize'"),
    ]
    long = [
        (f'{D}.connectors.widen.kernel_siz', 'an argument of ConvModuleConnector', "'kernel_size'"),
        (f'{D}.student_recorders.feature.sourc', 'an argument of ModuleOutputs', "'source'"),
        (f'{D}.teacher_recorders.logits.sources', 'an argument of ModuleOutputs', "'source'"),
        (f'{S_FEATURE}.record_ix', 'a key of a record', "'record_idx'"),
        (f'{T_FEATURE}.recoder', 'a key of a record', "'recorder'"),
    ]
    short = [
        (f'{FEATURE}.connector.kernel_siz', 'an argument of ConvModuleConnector', "'kernel_size'"),
        (f'{FEATURE}.student.record_ix', '', "'record_idx'"),
        (f'{FEATURE}.teacher.data_index', '', "'data_idx'"),
        (f'{FEATURE}.conector', '', "'connector'"),
    ]
    return [(form, *case) for form, cases in (('long', both + long), ('short', both + short)) for case in cases]


@pytest.mark.parametrize(('form', 'where', 'expected', 'meant'), unknown_keys())
def test_unknown_key(form, where, expected, meant, check):
    config = good_config(form)
    put(config, where, 'relu')
    check(config, where, expected, repr(where.rpartition('.')[2]), f'did you mean … {meant}')


@pytest.mark.parametrize(
    ('where', 'kind', 'meant'),
    [
        ('model.architecture.backbone.stagess', 'PlainCNN', "'stages'"),
        ('model.architecture.head.num_clases', 'LinearClsHead', "'num_classes'"),
        ('model.teacher.head.in_chanels', 'LinearClsHead', "'in_channels'"),
        ('model.teacher.backbone.norm_cgf', 'PlainCNN', "'norm_cfg'"),
        ('model.architecture.neck.dimm', 'GlobalAveragePooling', "'dim'"),
    ],
)
def test_unknown_key_inside_a_model(where, kind, meant, check):
    config = digits_config()
    put(config, where, 3)
    check(config, where, f'an argument of {kind}', repr(where.rpartition('.')[2]), f'did you mean … {meant}')


@pytest.mark.parametrize(
    ('form', 'path', 'misspelt', 'meant'),
    [
        ('short', D, 'distill_loses', 'distill_losses'),
        ('long', D, 'distill_loses', 'distill_losses'),
        ('long', D, 'student_recorder', 'student_recorders'),
        ('long', D, 'teacher_recorder', 'teacher_recorders'),
        ('long', D, 'connector', 'connectors'),
        ('long', D, 'loss_forward_mapping', 'loss_forward_mappings'),
        ('short', FEATURE, 'studnt', 'student'),
        ('short', FEATURE, 'techer', 'teacher'),
        ('short', f'{FEATURE}.student', 'sorce', 'source'),
        ('short', f'{FEATURE}.connector', 'typ', 'type'),
        ('short', KL, 'typ', 'type'),
        ('long', S_FEATURE, 'recoder', 'recorder'),
        ('long', S_FEATURE, 'from_studnt', 'from_student'),
        ('long', f'{D}.student_recorders.feature', 'sorce', 'source'),
        ('long', f'{D}.connectors.widen', 'in_chanel', 'in_channel'),
        ('long', f'{D}.connectors.widen', 'out_chanel', 'out_channel'),
        ('short', 'model', 'techer', 'teacher'),
        ('short', 'model', 'architectur', 'architecture'),
        ('short', 'model', 'distiler', 'distiller'),
    ],
)
def test_misspelt_key(form, path, misspelt, meant, tmp_path, capsys):
    """A needed key that is misspelt is missing too; that much may be said of it, and nothing that follows from it."""
    config = good_config(form)
    put(config, f'{path}.{misspelt}', drop(config, f'{path}.{meant}'))
    faults = refusals(config, tmp_path, capsys)
    assert any(misspelt in fault.got and meant in fault.advice for fault in faults), listed(faults)
    assert {fault.where for fault in faults} <= {path, f'{path}.{misspelt}', f'{path}.{meant}'}, listed(faults)
    assert len(faults) <= 2, listed(faults)


# unknown types


def unknown_types():
    both = [
        ('model.type', 'SingleTeacherDistil', "'SingleTeacherDistill'"),
        ('model.architecture.type', 'FaltyClassifier', "'FaultyClassifier'"),
        ('model.teacher.type', 'FaltyClassifier', "'FaultyClassifier'"),
        (f'{D}.type', 'ConfigurableDistilller', "'ConfigurableDistiller'"),
        (f'{FEATURE}.type', 'L2Los', "'L2Loss'"),
        (f'{KL}.type', 'KLDivergense', "'KLDivergence'"),
    ]
    long = [
        (f'{D}.student_recorders.feature.type', 'ModuleOutput', "'ModuleOutputs'"),
        (f'{D}.teacher_recorders.feature.type', 'ModuleInput', "'ModuleInputs'"),
        (f'{D}.connectors.widen.type', 'ConvModulConnector', "'ConvModuleConnector'"),
    ]
    short = [
        (f'{FEATURE}.student.type', 'ModuleOutput', "'ModuleOutputs'"),
        (f'{FEATURE}.teacher.type', 'ModuleInput', "'ModuleInputs'"),
        (f'{FEATURE}.connector.type', 'ConvModulConnector', "'ConvModuleConnector'"),
    ]
    return [(form, *case) for form, cases in (('long', both + long), ('short', both + short)) for case in cases]


@pytest.mark.parametrize(('form', 'where', 'name', 'meant'), unknown_types())
def test_unknown_type(form, where, name, meant, check):
    config = good_config(form)
    put(config, where, name)
    check(config, where, 'a registered ', repr(name), f'did you mean … {meant}')


@pytest.mark.parametrize(
    ('where', 'name', 'meant'),
    [
        ('model.architecture.head.type', 'LinearClsHed', "'LinearClsHead'"),
        ('model.architecture.backbone.type', 'PlainCN', "'PlainCNN'"),
        ('model.teacher.backbone.type', 'PlainCN', "'PlainCNN'"),
        ('model.teacher.neck.type', 'GlobalAvragePooling', "'GlobalAveragePooling'"),
    ],
)
def test_unknown_type_inside_a_model(where, name, meant, check):
    config = digits_config()
    put(config, where, name)
    check(config, where, 'a registered model', repr(name), f'did you mean … {meant}')


@pytest.mark.parametrize(
    ('norm', 'key', 'meant'), [(dict(type='BNN'), 'type', 'BNN'), (dict(type='BN', epss=1), 'epss', 'epss')]
)
def test_unknown_inside_a_connector(form, norm, key, meant, config, tmp_path, capsys):
    """mmcv builds the norm of a connector: the key path leads to it, or at least to the connector."""
    where = place(form, f'{D}.connectors.widen', f'{FEATURE}.connector')
    put(config, f'{where}.norm_cfg', norm)
    (fault,) = refusals(config, tmp_path, capsys)
    assert fault.where in (where, f'{where}.norm_cfg', f'{where}.norm_cfg.{key}')
    assert meant in fault.got


def test_connector_by_a_name_that_is_not_declared(check):
    config = good_config('short')
    put(config, f'{D}.connectors', dict(widen=drop(config, f'{FEATURE}.connector')))
    put(config, f'{FEATURE}.connector', 'wide')
    check(config, f'{FEATURE}.connector', 'connectors', "'wide'", "did you mean … 'widen'")


# sources


SOURCES = {
    'long': {side: f'{D}.{side}_recorders.logits.source' for side in ('student', 'teacher')},
    'short': {side: f'{KL}.{side}' for side in ('student', 'teacher')},
}


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_source_that_is_not_in_the_model(form, side, config, check):
    where = SOURCES[form][side]
    put(config, where, 'head.fcc')
    check(config, where, 'a module of FaultyClassifier', "'head.fcc'", "did you mean … 'head.fc'")


def test_source_dict_that_is_not_in_the_model(check):
    config = good_config('short')
    put(config, f'{FEATURE}.student.source', 'stage.1')
    check(config, f'{FEATURE}.student.source', 'a module of FaultyClassifier', "'stage.1'", "'stages.1'")


def test_sources_of_both_sides_at_once(form, config, tmp_path, capsys):
    for where in SOURCES[form].values():
        put(config, where, 'head.fcc')
    faults = refusals(config, tmp_path, capsys)
    assert {fault.where for fault in faults} == set(SOURCES[form].values())
    assert len(faults) == 2
    assert all("'head.fc'" in fault.advice for fault in faults)


@pytest.mark.parametrize('source', ['stages', 'spare'])
@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_source_that_never_ran(form, side, source, config, check):
    where = SOURCES[form][side]
    put(config, where, source)
    # it is the source that is wrong, not one of its calls
    if source == 'stages':
        check(config, where, 'a forward of its own', "'stages', a ModuleList", 'stages.0, stages.1')
    else:
        check(config, where, 'runs', f"'{source}'", 'containers and unused modules never do')


def test_source_that_never_ran_and_is_used_twice_is_one_fault(check):
    config = good_config('long')
    put(config, f'{D}.teacher_recorders.feature.source', 'stages')
    put(config, f'{LOSSES}.loss_again', dict(type='L2Loss'))
    put(config, f'{MAPPINGS}.loss_again', dict(config['model']['distiller']['loss_forward_mappings']['loss_feature']))
    check(config, f'{D}.teacher_recorders.feature.source', 'a forward', "'stages', a ModuleList", 'stages.0, stages.1')


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_several_calls_and_none_chosen(form, side, config, check):
    long = f'{MAPPINGS}.loss_feature.{side[0]}_feature'
    record = place(form, long, f'{FEATURE}.{side}')
    drop(config, f'{record}.record_idx')
    check(config, f'{record}.record_idx', '2 calls of the source', 'none', 'add record_idx=0')


def test_several_calls_of_a_bare_source(check):
    config = good_config('short')
    put(config, f'{FEATURE}.student', 'relu')
    # there is no dict to add it to: the advice is what to write instead
    check(config, f'{FEATURE}.student', '2 calls', "'relu'", "dict(source='relu', record_idx=1)")


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_fewer_calls_than_record_idx(form, side, config, check):
    long = f'{MAPPINGS}.loss_feature.{side[0]}_feature'
    where = f'{place(form, long, f"{FEATURE}.{side}")}.record_idx'
    put(config, where, 2)
    check(config, where, 'a call of', 'record_idx=2, but its source ran twice', 'use a record_idx from 0 to 1')


def test_record_idx_of_a_single_call(form, config, check):
    if form == 'long':
        put(config, f'{MAPPINGS}.loss_kl.preds_S.record_idx', 1)
    else:
        put(config, f'{KL}.student', dict(source='head.fc', record_idx=1))
    where = place(form, f'{MAPPINGS}.loss_kl.preds_S.record_idx', f'{KL}.student.record_idx')
    check(config, where, 'a call of', 'record_idx=1, but its source ran once', 'record_idx')


def test_messages_name_the_source_not_what_it_is_called_inside(tmp_path, capsys):
    config = good_config('short')
    put(config, f'{FEATURE}.student.record_idx', 5)
    (fault,) = refusals(config, tmp_path, capsys)
    assert "'relu'" in fault.expected + fault.got
    assert 'loss_feature.s_feature' not in str(fault)


@pytest.mark.parametrize(
    ('source', 'index', 'got'), [('pair', 2, 'a tuple with 2 elements'), ('head.fc', 0, 'without elements')]
)
def test_data_idx_outside_of_the_record(form, source, index, got, config, check):
    if form == 'long':
        put(config, SOURCES['long']['student'], source)
        put(config, f'{MAPPINGS}.loss_kl.preds_S.data_idx', index)
    else:
        put(config, f'{KL}.student', dict(source=source, data_idx=index))
    where = place(form, f'{MAPPINGS}.loss_kl.preds_S.data_idx', f'{KL}.student.data_idx')
    check(config, where, 'an element of', got, 'data_idx')


def test_connector_idx_without_a_connector(form, config, check):
    if form == 'long':
        put(config, f'{MAPPINGS}.loss_kl.preds_S.connector_idx', 0)
    else:
        put(config, f'{KL}.student', dict(source='head.fc', connector_idx=0))
    where = place(form, f'{MAPPINGS}.loss_kl.preds_S.connector_idx', f'{KL}.student.connector_idx')
    check(config, where, 'a connector', 'connector_idx=0', 'data_idx')


def test_connector_idx_of_a_connector_that_returns_one_tensor(form, config, check):
    where = place(form, f'{S_FEATURE}.connector_idx', f'{FEATURE}.student.connector_idx')
    put(config, where, 0)
    check(config, where, 'an element of', 'connector_idx=0 of a Tensor', 'correct connector_idx')


def test_connector_idx_where_no_connector_is_needed(check):
    config = good_config('short')
    put(config, f'{KL}.student', dict(source='head.fc', connector='auto', connector_idx=0))
    check(config, f'{KL}.student.connector_idx', 'an element of', 'connector_idx=0 of a Tensor', 'leave it out')


def test_tuple_without_data_idx(form, config, check):
    put(config, SOURCES[form]['student'], 'pair')
    where = place(form, f'{MAPPINGS}.loss_kl.preds_S', f'{KL}.student')
    check(config, where, 'a tensor', 'tuple', 'data_idx')


def test_inputs_without_data_idx(check):
    """Positional arguments are a tuple also where there is one; 'auto' cannot take it either."""
    config = good_config('short')
    put(config, f'{FEATURE}.student.type', 'ModuleInputs')
    check(config, f'{FEATURE}.student', 'a tensor', 'tuple', 'data_idx')


@pytest.mark.parametrize('value', [3, [], {}, ['relu']])
def test_source_that_is_none(value, check):
    config = good_config('short')
    put(config, f'{FEATURE}.student', value)
    check(config, f'{FEATURE}.student', 'a module path', repr(value), "write for instance 'backbone.layer4'")


# declared and not used, used and not declared


@pytest.mark.parametrize(
    ('where', 'part', 'expected'),
    [
        (f'{D}.student_recorders.extra', dict(type='ModuleOutputs', source='stem'), 'a recorder that a loss uses'),
        (f'{D}.teacher_recorders.extra', dict(type='ModuleOutputs', source='stem'), 'a recorder that a loss uses'),
        (f'{D}.connectors.extra', dict(type='LinearConnector', in_channel=3, out_channel=3), 'a connector that a loss'),
    ],
)
def test_declared_and_never_used(form, where, part, expected, config, check):
    config['model']['distiller'].setdefault(where.split('.')[2], {})
    put(config, where, part)
    check(config, where, expected, 'none', 'remove or use it')


def test_loss_that_nothing_feeds(form, config, check):
    where = f'{LOSSES}.loss_extra'
    put(config, where, dict(type='L2Loss'))
    check(config, where, 'a loss with its sources', 'neither', f'{MAPPINGS.rpartition(".")[2]}.loss_extra')


@pytest.mark.parametrize(
    ('where', 'name', 'expected', 'meant'),
    [
        (f'{S_FEATURE}.recorder', 'featur', 'student_recorders', "'feature'"),
        (f'{T_FEATURE}.recorder', 'featur', 'teacher_recorders', "'feature'"),
        (f'{S_FEATURE}.connector', 'wide', 'connectors', "'widen'"),
    ],
)
def test_mapping_to_what_is_not_declared(where, name, expected, meant, check):
    config = good_config('long')
    put(config, where, name)
    check(config, where, f'a name in {expected}', repr(name), f'did you mean … {meant}')


def test_mapping_of_a_loss_that_is_not_declared(check):
    config = good_config('long')
    where = f'{MAPPINGS}.loss_ghost'
    put(config, where, dict(config['model']['distiller']['loss_forward_mappings']['loss_kl']))
    check(config, where, 'a loss in distill_losses', "'loss_ghost'", 'loss_kl')


def test_both_forms_for_one_loss(check):
    config = good_config('long')
    put(config, f'{KL}.student', 'head.fc')
    check(config, f'{MAPPINGS}.loss_kl', 'one form', 'both', 'remove student')


# losses


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_loss_argument_missing(form, side, config, check):
    argument = {'student': 'preds_S', 'teacher': 'preds_T'}[side]
    if form == 'long':
        drop(config, f'{MAPPINGS}.loss_kl.{argument}')
        drop(config, f'{D}.{side}_recorders.logits')
        check(config, f'{MAPPINGS}.loss_kl', f'{argument} of KLDivergence', 'none', f'add {argument}=dict(recorder=')
    else:
        drop(config, f'{KL}.{side}')
        check(config, KL, f'{argument} of KLDivergence', 'none', f"add {side}='")


def test_loss_argument_unknown(form, config, check):
    if form == 'long':
        where = f'{MAPPINGS}.loss_kl.preds_X'
        put(config, where, dict(recorder='logits', from_student=True))
    else:
        where = f'{KL}.student.preds_X'
        put(config, f'{KL}.student', dict(preds_S='head.fc', preds_X='head.fc'))
    check(config, where, 'an argument of KLDivergence.forward', "'preds_X'", "did you mean … 'preds_S'")


@pytest.mark.parametrize('arguments', [{'tau': 0}, {'reduction': 'avg'}])
def test_loss_argument_out_of_range(form, arguments, config, check):
    ((key, value),) = arguments.items()
    put(config, f'{KL}.{key}', value)
    check(config, f'{KL}.{key}', {'tau': 'above 0', 'reduction': 'one of'}[key], repr(value), 'usual')


def test_loss_name_that_is_not_summed(form, config, check):
    put(config, f'{LOSSES}.divergence', drop(config, KL))
    if form == 'long':
        put(config, f'{MAPPINGS}.divergence', drop(config, f'{MAPPINGS}.loss_kl'))
    check(config, f'{LOSSES}.divergence', "contains 'loss'", "'divergence'", 'loss_divergence')


@pytest.mark.parametrize('empty', [{}, None, 'absent'])
def test_no_losses(empty, check):
    config = good_config('short')
    put(config, LOSSES, empty)
    if empty == 'absent':
        drop(config, LOSSES)
    check(config, LOSSES, 'at least one loss', 'none', '')


def test_no_losses_and_yet_mappings(check):
    config = good_config('long')
    put(config, LOSSES, {})
    check(config, LOSSES, 'at least one loss', 'none', '')


# tensors that do not meet


def source(config, form, side, name, **keys):
    """Let the loss on features compare another module's output; a connector goes."""
    if form == 'short':
        put(config, f'{FEATURE}.{side}', dict(source=name, **keys))
        config['model']['distiller']['distill_losses']['loss_feature'].pop('connector', None)
        return
    put(config, f'{D}.{side}_recorders.feature.source', name)
    record = config['model']['distiller']['loss_forward_mappings']['loss_feature'][f'{side[0]}_feature']
    for key in ('record_idx', 'connector'):
        record.pop(key, None)
    record.update(keys)
    config['model']['distiller'].pop('connectors', None)


def how_to_connect(form: str) -> str:
    """What a user can write for a connector to be chosen; a loss of the long form has no key connector."""
    return place(form, "connectors=dict( … ='auto' … s_feature … connector=", "connector='auto'")


def test_channels_differ(form, config, check):
    source(config, form, 'student', 'stages.0')
    source(config, form, 'teacher', 'stages.0')
    got = ('(2, 4, 8, 8)', '(2, 6, 8, 8)')
    check(config, FEATURE, 'same shape', got[0], f'{how_to_connect(form)} … ConvModule 4 to 6')


def test_height_and_width_differ(form, config, check):
    put(config, 'model.teacher.channels', 4)
    source(config, form, 'student', 'stages.1')
    source(config, form, 'teacher', 'stages.0')
    check(config, FEATURE, 'same shape', '(2, 4, 4, 4) (student) and', f'{how_to_connect(form)} … Resize 8x8')


def test_channels_height_and_width_differ(form, config, check):
    source(config, form, 'student', 'stages.1')
    source(config, form, 'teacher', 'stages.0')
    check(
        config, FEATURE, 'same shape', '(2, 6, 8, 8) (teacher)', f'{how_to_connect(form)} … ConvModule 4 to 6, Resize'
    )


@pytest.mark.parametrize('name', ['vectors', 'tokens'])
def test_linear_connector_mends_vectors_and_tokens(form, name, config, check):
    keys = {'vectors': dict(data_idx=1), 'tokens': {}}[name]
    for side in ('student', 'teacher'):
        source(config, form, side, {'vectors': 'pair', 'tokens': 'tokens'}[name], **keys)
    got = {'vectors': '(2, 4) (student)', 'tokens': '(2, 63, 4) (student)'}[name]
    check(config, FEATURE, 'same shape', got, f'{how_to_connect(form)} … Linear 4 to 6')


def test_batch_differs(form, config, check):
    put(config, 'model.teacher.channels', 4)
    source(config, form, 'student', 'windows')
    source(config, form, 'teacher', 'stages.1')
    check(
        config, FEATURE, 'same shape', '(8, 4, 4, 4) (student) and', 'batch sizes differ … record the block around it'
    )


def test_numbers_of_classes_differ(form, config, check):
    put(config, 'model.teacher.num_classes', 5)
    # a trained layer after the logits would meet, and teach the student's own classes nothing
    advice = 'num_classes'
    check(config, KL, 'same shape', '(2, 3) (student) and preds_T (2, 5) (teacher)', advice)


def test_connector_that_takes_other_channels(form, config, check):
    where = place(form, f'{D}.connectors.widen', f'{FEATURE}.connector')
    put(config, f'{where}.in_channel', 5)
    check(config, f'{where}.in_channel', '(2, 4, 8, 8)', '5', 'in_channel … 4')


def test_connector_that_gives_other_channels(form, config, check):
    where = place(form, f'{D}.connectors.widen', f'{FEATURE}.connector')
    put(config, f'{where}.out_channel', 5)
    advice = f'out_channel … 6 … {where.removeprefix("model.distiller.")}'
    check(config, FEATURE, 'same shape', '(2, 5, 8, 8) (student) and t_feature (2, 6, 8, 8) (teacher)', advice)


def test_connector_of_another_rank(form, config, check):
    where = place(form, f'{D}.connectors.widen', f'{FEATURE}.connector')
    put(config, where, dict(type='MapToTokensConnector'))
    check(config, FEATURE, 'same shape', '(2, 64, 4) (student) and t_feature (2, 6, 8, 8)', 'auto')


# 'auto'


def auto(config, form):
    """Let the preflight choose the connector of the loss on features."""
    if form == 'short':
        put(config, f'{FEATURE}.connector', 'auto')
        return f'{FEATURE}.connector'
    put(config, f'{D}.connectors', dict(widen='auto'))
    put(config, f'{S_FEATURE}.connector', 'widen')
    return f'{D}.connectors.widen'


def test_auto_of_a_map_and_a_vector(form, config, check):
    source(config, form, 'student', 'stages.1')
    source(config, form, 'teacher', 'pair', data_idx=1)
    where = auto(config, form)
    check(config, where, 'two records that connectors can make equal', '(2, 4, 4, 4) (student) and (2, 6)', 'same kind')


def test_auto_of_folded_batches(form, config, check):
    source(config, form, 'student', 'windows')
    source(config, form, 'teacher', 'stages.1')
    where = auto(config, form)
    check(config, where, 'two records that connectors', '(8, 4, 4, 4) (student)', 'the batch sizes differ')


def test_auto_of_tokens_that_are_no_grid(form, config, check):
    put(config, 'train_dataloader.dataset.pixels', 8)
    source(config, form, 'student', 'stages.0')
    source(config, form, 'teacher', 'tokens')
    where = auto(config, form)
    check(config, where, 'two records that connectors', '(2, 63, 6) (teacher)', '63 tokens are no grid … extra_tokens')


def test_auto_of_a_tuple(form, config, check):
    source(config, form, 'student', 'pair')
    source(config, form, 'teacher', 'stages.1')
    where = auto(config, form)
    check(config, where, 'two tensors', 's_feature [2x4x4x4, 2x4]', 'data_idx')


def test_auto_at_the_teacher(check):
    config = good_config('short')
    drop(config, f'{FEATURE}.connector')
    put(config, f'{FEATURE}.teacher.connector', 'auto')
    check(config, f'{FEATURE}.teacher.connector', "student's tensor", 't_feature', 'connector')


@pytest.mark.parametrize('named', [True, False])
def test_auto_where_nothing_is_needed(form, named, config, tmp_path):
    """What is worked out is written into the config, which is good then too."""
    if named or form == 'long':
        config['model']['distiller'].setdefault('connectors', {})['unneeded'] = 'auto'
    record = place(form, f'{MAPPINGS}.loss_kl.preds_S', KL)
    put(config, f'{record}.connector', 'unneeded' if named or form == 'long' else 'auto')
    loaded = load_config(write(config, tmp_path / 'config.py'))
    loaded.work_dir = str(tmp_path / 'run')
    complete_config(loaded)
    assert inspect_training(loaded).faults == []
    again = inspect_training(loaded)
    assert (again.faults, again.chosen) == ([], {})


# warnings


def warning_about(findings, where: str) -> Fault:
    (warning,) = [warning for warning in findings.warnings if warning.where == where]
    return warning


def reported(config, tmp_path, capsys) -> str:
    """What tools/check_config.py prints of a config that it finds good."""
    assert check_config.main([str(write(config, tmp_path / 'config.py'))]) == 0
    return capsys.readouterr().out


def test_mean_over_classes_shrinks_the_weight(form, config, tmp_path, capsys):
    put(config, f'{KL}.reduction', 'mean')
    put(config, f'{KL}.loss_weight', 6)
    findings = findings_of(config, tmp_path)
    assert findings.faults == []
    warning = warning_about(findings, f'{KL}.reduction')
    assert is_about(warning, f'{KL}.reduction', 'acts as the 6 that it says', '6 that acts as 2', "'batchmean'")
    (loss,) = [loss for loss in findings.losses if loss.name == 'loss_kl']
    assert (loss.weight, loss.effective_weight) == (6, pytest.approx(2))

    text = reported(config, tmp_path, capsys)
    assert f'warning: {KL}.reduction\n' in text
    assert 'acts as 2' in text


def test_teacher_without_weights(form, config, tmp_path, capsys):
    findings = findings_of(config, tmp_path)
    assert findings.faults == []
    warning = warning_about(findings, 'model.teacher')
    assert is_about(warning, 'model.teacher', 'trained weights', 'random weights', 'teacher_ckpt')
    (teacher,) = [model for model in findings.models if model.role == 'teacher']
    assert (teacher.loaded, teacher.weights) == (0, 'random')
    assert 'warning: model.teacher\n' in reported(config, tmp_path, capsys)


def test_classes_of_the_teacher_differ_and_only_features_are_compared(form, config, tmp_path, capsys):
    put(config, 'model.teacher.num_classes', 5)
    drop(config, KL)
    if form == 'long':
        for path in ('student_recorders.logits', 'teacher_recorders.logits', 'loss_forward_mappings.loss_kl'):
            drop(config, f'{D}.{path}')
    findings = findings_of(config, tmp_path)
    assert findings.faults == []
    (warning,) = [warning for warning in findings.warnings if 'classes' in warning.expected]
    got = '5 classes of the teacher and 3 of the student'
    assert is_about(warning, 'model.teacher', "the student's classes", got, 'num_classes')
    assert got in reported(config, tmp_path, capsys)


def test_parameters_without_gradient(form, config, tmp_path, capsys):
    put(config, 'model.architecture.idle', True)
    findings = findings_of(config, tmp_path)
    assert findings.faults == []
    assert findings.without_gradient == ['architecture.spare.weight', 'architecture.spare.bias']
    warning = warning_about(findings, 'model')
    got = '2 without: architecture.spare.weight, architecture.spare.bias'
    assert is_about(warning, 'model', 'a gradient', got, 'find_unused_parameters=True')
    text = reported(config, tmp_path, capsys)
    assert 'architecture.spare.weight' in text
    assert 'find_unused_parameters=True is needed' in text


def test_parameters_without_gradient_that_the_config_allows(config, tmp_path):
    put(config, 'model.architecture.idle', True)
    config['find_unused_parameters'] = True
    findings = findings_of(config, tmp_path)
    assert len(findings.without_gradient) == 2
    assert [warning.where for warning in findings.warnings] == ['model.teacher']


# several at once


def test_five_faults_at_once(form, config, tmp_path, capsys):
    put(config, 'model.student_trainabel', True)
    put(config, f'{KL}.taau', 4)
    put(config, SOURCES[form]['teacher'], 'head.fcc')
    record = place(form, S_FEATURE, f'{FEATURE}.student')
    put(config, f'{record}.record_idx', 7)
    connector = place(form, f'{D}.connectors.widen', f'{FEATURE}.connector')
    put(config, f'{connector}.kernel_siz', 3)
    faults = refusals(config, tmp_path, capsys)
    assert sorted(fault.where for fault in faults) == sorted(
        [
            'model.student_trainabel',
            f'{KL}.taau',
            SOURCES[form]['teacher'],
            f'{record}.record_idx',
            f'{connector}.kernel_siz',
        ]
    )


def test_faults_of_model_data_and_schedule_at_once(form, config, tmp_path, capsys):
    put(config, 'optim_wrapper.optimizer.type', 'SGDD')
    put(config, 'train_dataloader.dataset.type', 'ToyDataSet')
    put(config, 'model.architecture.type', 'FaltyClassifier')
    put(config, f'{D}.type', 'ConfigurableDistilller')
    put(config, 'default_hooks.logger.type', 'LogerHook')
    assert {fault.where for fault in refusals(config, tmp_path, capsys)} == {
        'optim_wrapper.optimizer.type',
        'train_dataloader.dataset.type',
        'model.architecture.type',
        f'{D}.type',
        'default_hooks.logger.type',
    }


# the preflight leaves nothing behind


def live_tensors() -> int:
    gc.collect()
    return sum(isinstance(value, torch.Tensor) for value in gc.get_objects())


@pytest.mark.parametrize('fault', [False, True])
def test_leaves_no_tensor(form, fault, config, tmp_path):
    if fault:
        put(config, SOURCES[form]['student'], 'stages')
    path = write(config, tmp_path / 'config.py')
    loaded = load_config(path)
    loaded.work_dir = str(tmp_path / 'run')
    complete_config(loaded)
    inspect_training(loaded)  # libraries keep some of their own at their first use
    before = live_tensors()
    findings = inspect_training(loaded)
    assert live_tensors() == before
    assert bool(findings.faults) == fault


def test_keeps_random_states_and_the_rest_of_the_config(form, config, tmp_path):
    where = auto(config, form)
    path = write(config, tmp_path / 'config.py')
    loaded = load_config(path)
    loaded.work_dir = str(tmp_path / 'run')
    complete_config(loaded)
    before = Config(loaded.to_dict()).to_dict()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()

    findings = inspect_training(loaded)

    assert findings.faults == []
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(np.array_equal(new, old) for new, old in zip(np.random.get_state(), states[2], strict=True))
    after = loaded.to_dict()
    chosen = drop(after, where)
    assert chosen['type'] == 'kd_plugins.ConvModuleConnector'
    assert drop(before, where) == 'auto'
    assert after == before
    assert not (tmp_path / 'run').exists()


def test_keeps_a_config_that_leaves_nothing_out(config, tmp_path):
    loaded = load_config(write(config, tmp_path / 'config.py'))
    loaded.work_dir = str(tmp_path / 'run')
    complete_config(loaded)
    before = loaded.pretty_text
    inspect_training(loaded)
    assert loaded.pretty_text == before


def test_parameters_without_gradient_stop_several_processes(tmp_path):
    """DistributedDataParallel would stop at the second step: that is said before the first."""
    config = load_config(write(good_config('short'), tmp_path / 'config.py'))
    config.model.architecture.idle = True
    config.work_dir = str(tmp_path / 'run')
    config.launcher = 'pytorch'
    (fault,) = inspect_training(config).faults
    assert is_about(fault, 'model', 'a gradient', '2 without: architecture.spare.weight', 'find_unused_parameters=True')
    config.find_unused_parameters = True
    assert inspect_training(config).faults == []
    # as prepare_distributed writes it where there are no GPUs
    config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', find_unused_parameters=False)
    assert inspect_training(config).faults == [fault]
    config.model_wrapper_cfg.find_unused_parameters = True
    assert inspect_training(config).faults == []


# what mutations found


def test_connectors_that_are_left_out_below_a_misspelt_key(check):
    config = good_config('long')
    drop(config, f'{D}.connectors.widen.in_channel')
    put(config, f'{D}.conectors', drop(config, f'{D}.connectors'))
    check(
        config, f'{D}.conectors', 'an argument of ConfigurableDistiller', "'conectors'", "did you mean … 'connectors'"
    )


def test_unknown_key_at_the_top_of_a_part_of_the_runner(check):
    config = good_config('short')
    put(config, 'randomness.sed', drop(config, 'randomness.seed'))
    check(config, 'randomness.sed', '', "'sed'", 'correct the key')
