"""What the preflight worked out is written where the user left it out, in either form."""

import copy

from kd_plugins.preflight.edit import apply_edits

WIDEN = dict(type='kd_plugins.LinearConnector', in_channel=4, out_channel=6)
TO_MAP = dict(type='kd_plugins.TokensToMapConnector', size=(7, 7))


def edited(config, edits):
    config = copy.deepcopy(config)
    apply_edits(config, edits)
    return config


def short(**loss):
    return dict(distill_losses=dict(loss_a=dict(type='L2Loss', student='a', teacher='b', **loss)))


def test_the_connector_of_a_loss():
    where = 'distill_losses.loss_a.connector'
    assert edited(short(connector='auto'), {where: WIDEN}) == short(connector=WIDEN)
    assert edited(short(connector='auto'), {where: None}) == short()


def test_a_source_that_was_a_path_becomes_a_dict():
    config = edited(short(), {'distill_losses.loss_a.teacher.connector': TO_MAP})
    assert config['distill_losses']['loss_a']['teacher'] == dict(source='b', connector=TO_MAP)


def test_a_source_among_several():
    config = dict(distill_losses=dict(loss_a=dict(type='L2Loss', student=dict(s_feature='a'), teacher='b')))
    config = edited(config, {'distill_losses.loss_a.student.s_feature.connector': WIDEN})
    assert config['distill_losses']['loss_a']['student'] == dict(s_feature=dict(source='a', connector=WIDEN))


def long(**record):
    student = dict(recorder='a', from_student=True, connector='widen')
    teacher = dict(recorder='b', from_student=False, **record)
    return dict(
        connectors=dict(widen='auto'),
        loss_forward_mappings=dict(loss_a=dict(s_feature=student, t_feature=teacher)),
    )


def test_a_connector_that_was_declared_by_name():
    config = edited(long(), {'connectors.widen': [WIDEN, TO_MAP]})
    assert config == {**long(), 'connectors': dict(widen=[WIDEN, TO_MAP])}


def test_one_that_is_not_needed_is_forgotten_everywhere():
    config = edited(long(), {'connectors.widen': None})
    assert config['connectors'] == {}
    assert config['loss_forward_mappings']['loss_a']['s_feature'] == dict(recorder='a', from_student=True)


def test_one_that_the_teachers_side_of_the_long_form_needs():
    config = edited(long(), {'loss_forward_mappings.loss_a.t_feature.connector': TO_MAP})
    assert config['connectors']['loss_a_t_feature'] == TO_MAP
    assert config['loss_forward_mappings']['loss_a']['t_feature']['connector'] == 'loss_a_t_feature'
