"""A video model of another library is distilled: records of (N, C, T, H, W), clips folded into the batch."""

import copy

import pytest
import toy_video
from task_runs import logged, scalars, task_config, train, write

from kd_plugins.errors import UserError
from kd_plugins.preflight import check_training, inspect_training
from tools import train as train_tool

PIPELINE = [dict(type='LoadToyClips'), dict(type='PackToyVideoInputs')]


def recognizer(channels, **changes):
    preprocessor = dict(type='ToyVideoPreprocessor')
    return dict(type='ToyRecognizer3D', channels=channels, data_preprocessor=preprocessor, **changes)


def config_of(work_dir, distiller, kind='SingleTeacherDistill', student=None, teacher=None):
    model = dict(
        type=f'kd_plugins.{kind}',
        architecture=student or recognizer(4),
        teacher=teacher or recognizer(8),
        distiller=dict({'type': 'ConfigurableDistiller'}, **distiller),
    )
    return task_config(toy_video, work_dir, model, dict(type='ToyVideos', pipeline=PIPELINE), 'ToyTop1')


VOLUMES = dict(student='backbone', teacher='backbone')
# its channels are worked out
WIDEN = dict(type='ConvModuleConnector', conv_cfg=dict(type='Conv3d'), act_cfg=None)
SHORT = {
    'kl': dict(loss_kl=dict(type='KLDivergence', tau=4, student='fc_cls', teacher='fc_cls')),
    **{
        name: {f'loss_{name}': dict(type=kind, connector=WIDEN, **VOLUMES)}
        for name, kind in [
            ('l2', 'L2Loss'),
            ('l1', 'L1Loss'),
            ('pkd', 'PKDLoss'),
            ('cwd', 'ChannelWiseDivergence'),
        ]
    },
}


@pytest.mark.parametrize('losses', SHORT.values(), ids=SHORT)
def test_short_form_trains_and_validates(tmp_path, losses):
    values = logged(train(config_of(tmp_path, dict(distill_losses=copy.deepcopy(losses)))))
    assert all(values[f'distill.{name}'] > 0 for name in losses)
    assert {'top1', 'teacher.top1'} <= set(values)


def test_long_form_trains_and_validates(tmp_path):
    recorders = dict(
        volume=dict(type='ModuleOutputs', source='backbone'),
        feature=dict(type='MethodOutputs', source='toy_video.ToyRecognizer3D.extract_feat'),
        scores=dict(type='ModuleInputs', source='fc_cls'),
    )
    config = config_of(
        tmp_path,
        dict(
            student_recorders=recorders,
            teacher_recorders=copy.deepcopy(recorders),
            connectors=dict(
                volume=dict(type='ConvModuleConnector', in_channel=4, out_channel=8, conv_cfg=dict(type='Conv3d')),
                feature=dict(
                    type='TorchNNConnector',
                    module_name='Conv3d',
                    module_args=dict(in_channels=4, out_channels=8, kernel_size=1),
                ),
                vector=dict(type='LinearConnector', in_channel=4, out_channel=8),
            ),
            distill_losses=dict(
                loss_volume=dict(type='L2Loss'), loss_feature=dict(type='L1Loss'), loss_vector=dict(type='L2Loss')
            ),
            loss_forward_mappings=dict(
                loss_volume=dict(
                    s_feature=dict(recorder='volume', from_student=True, connector='volume'),
                    t_feature=dict(recorder='volume', from_student=False),
                ),
                loss_feature=dict(
                    s_feature=dict(recorder='feature', from_student=True, connector='feature'),
                    t_feature=dict(recorder='feature', from_student=False),
                ),
                loss_vector=dict(
                    s_feature=dict(recorder='scores', from_student=True, data_idx=0, connector='vector'),
                    t_feature=dict(recorder='scores', from_student=False, data_idx=0),
                ),
            ),
        ),
    )
    values = logged(train(config))
    assert all(values[f'distill.{name}'] > 0 for name in ('loss_volume', 'loss_feature', 'loss_vector'))


def test_the_channels_of_a_volume_are_worked_out(tmp_path):
    config = config_of(
        tmp_path, dict(distill_losses=dict(loss_l2=dict(type='L2Loss', connector=dict(WIDEN), **VOLUMES)))
    )
    findings = check_training(config)
    # two samples of two clips
    assert findings.batch == (2, 2, 3, 4, 16, 16)
    assert [source.shape for source in findings.losses[0].sources] == [(4, 4, 4, 4, 4), (4, 8, 4, 4, 4)]
    connector = config.model.distiller.distill_losses.loss_l2.connector
    assert (connector.in_channel, connector.out_channel) == (4, 8)


def test_auto_is_nothing_where_volumes_are_alike(tmp_path):
    config = config_of(
        tmp_path,
        dict(distill_losses=dict(loss_l2=dict(type='L2Loss', connector='auto', **VOLUMES))),
        teacher=recognizer(4),
    )
    check_training(config)
    assert 'connector' not in config.model.distiller.distill_losses.loss_l2


@pytest.mark.parametrize('loss', ['L2Loss', 'L1Loss', 'ChannelWiseDivergence', 'MGDLoss'])
def test_other_numbers_of_frames_are_refused(tmp_path, loss):
    losses = dict(loss_volume=dict(type=loss, **VOLUMES))
    config = config_of(tmp_path, dict(distill_losses=losses), teacher=recognizer(4, temporal_stride=2))
    with pytest.raises(UserError, match=r'\(4, 4, 4, 4, 4\) \(student\) and \w+ \(4, 4, 2, 4, 4\) \(teacher\)'):
        check_training(config)


@pytest.mark.parametrize(
    'connector',
    [
        dict(type='MGDConnector'),
        dict(type='FBKDStudentConnector'),
        dict(type='ConvModuleConnector'),
    ],
    ids=lambda config: config['type'],
)
def test_connectors_of_images_refuse_volumes(tmp_path, connector):
    losses = dict(loss_l2=dict(type='L2Loss', connector=connector, **VOLUMES))
    (fault,) = inspect_training(config_of(tmp_path, dict(distill_losses=losses))).faults
    assert fault.where.startswith('model.distiller.distill_losses.loss_l2.connector')


def test_a_config_file_trains_by_the_command(tmp_path):
    losses = {**SHORT['kl'], **SHORT['l2']}
    path = write(config_of(tmp_path / 'run', dict(distill_losses=losses)), tmp_path / 'recognizer.py')
    assert train_tool.main([str(path)]) == 0
    training, validation = scalars(tmp_path / 'run')[-2:]
    assert {'distill.loss_kl', 'distill.loss_l2'} <= set(training)
    assert {'top1', 'teacher.top1'} <= set(validation)
