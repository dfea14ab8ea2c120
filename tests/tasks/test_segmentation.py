"""A segmentor of another library is distilled: logits of each pixel, and an auxiliary head."""

import copy

import pytest
import torch
import toy_segmentor
from mmengine.runner import Runner
from task_runs import logged, published_model, scalars, task_config, train, write

from kd_plugins.errors import UserError
from kd_plugins.losses import ChannelWiseDivergence
from kd_plugins.preflight import check_training, inspect_training
from tools import train as train_tool

PIPELINE = [dict(type='LoadToySegImage'), dict(type='LoadToySegMap'), dict(type='PackToySegInputs')]
PUBLISHED = 'mmseg/cwd/cwd_logits_pspnet_r101-d8_pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'


def segmentor(channels, **changes):
    preprocessor = dict(type='ImgDataPreprocessor', mean=[127.0] * 3, std=[60.0] * 3)
    return dict(type='ToySegmentor', channels=channels, data_preprocessor=preprocessor, **changes)


def config_of(work_dir, distiller, kind='SingleTeacherDistill', student=None, teacher=None):
    model = dict(
        type=f'kd_plugins.{kind}',
        architecture=student or segmentor(4),
        teacher=teacher or segmentor(8),
        distiller=dict({'type': 'ConfigurableDistiller'}, **distiller),
    )
    return task_config(toy_segmentor, work_dir, model, dict(type='ToySegMaps', pipeline=PIPELINE), 'ToyPixelAccuracy')


LOGITS = dict(student='decode_head.conv_seg', teacher='decode_head.conv_seg')
FEATURES = dict(student='decode_head.convs', teacher='decode_head.convs', connector='auto')
STAGE = dict(source='backbone', data_idx=1)
SHORT = {
    'cwd': dict(loss_cwd=dict(type='ChannelWiseDivergence', tau=1, loss_weight=5, **LOGITS)),
    'kl': dict(loss_kl=dict(type='KLDivergence', tau=2, **LOGITS)),
    'auxiliary': dict(
        loss_aux=dict(
            type='KLDivergence', student='auxiliary_head.conv_seg', teacher='decode_head.conv_seg', connector='auto'
        )
    ),
    'l2': dict(loss_l2=dict(type='L2Loss', **FEATURES)),
    'l1': dict(loss_l1=dict(type='L1Loss', **FEATURES)),
    'pkd': dict(loss_pkd=dict(type='PKDLoss', **FEATURES)),
    'mgd': dict(loss_mgd=dict(type='MGDLoss', student=STAGE, teacher=STAGE, connector=dict(type='MGDConnector'))),
    'fbkd': dict(
        loss_fbkd=dict(
            type='FBKDLoss',
            student=dict(
                STAGE,
                connector=[
                    dict(type='ConvModuleConnector', in_channel=8, out_channel=16),
                    dict(type='FBKDStudentConnector', in_channels=16),
                ],
            ),
            teacher=dict(STAGE, connector=dict(type='FBKDTeacherConnector', in_channels=16)),
        )
    ),
}


@pytest.mark.parametrize('losses', SHORT.values(), ids=SHORT)
def test_short_form_trains_and_validates(tmp_path, losses):
    values = logged(train(config_of(tmp_path, dict(distill_losses=copy.deepcopy(losses)))))
    own = {f'student.{head}.{name}' for head in ('decode', 'aux') for name in ('loss_ce', 'acc_seg')}
    assert own | {f'distill.{name}' for name in losses} <= set(values)
    assert all(values[f'distill.{name}'] > 0 for name in losses)
    # the share of right pixels is logged and not minimised
    losses = [value for name, value in values.items() if '.loss' in name]
    assert values['loss'] == pytest.approx(sum(losses), rel=1e-5)
    assert {'aAcc', 'teacher.aAcc'} <= set(values)


class TestPublished:
    """The distiller of MMRazor's segmentation config as it is."""

    def test_trains(self, tmp_path):
        model = published_model(PUBLISHED)
        values = logged(train(config_of(tmp_path, model['distiller'], model['type'])))
        assert values['distill.loss_cwd'] > 0

    def test_compares_the_logits_of_the_decode_heads(self, tmp_path):
        config = config_of(tmp_path, published_model(PUBLISHED)['distiller'])
        runner = Runner.from_cfg(config)
        algorithm = runner.model.eval()
        data = algorithm.data_preprocessor(next(iter(runner.train_dataloader)), True)
        losses = algorithm(**data, mode='loss')
        with torch.no_grad():
            logits = [model(data['inputs']) for model in (algorithm.student, algorithm.teacher)]
        expected = ChannelWiseDivergence(tau=1, loss_weight=5)(*logits)
        assert losses['distill.loss_cwd'].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_config_file_trains_by_the_command(tmp_path):
    losses = {**SHORT['cwd'], **SHORT['l2']}
    path = write(config_of(tmp_path / 'run', dict(distill_losses=losses)), tmp_path / 'segmentor.py')
    assert train_tool.main([str(path)]) == 0
    training, validation = scalars(tmp_path / 'run')[-2:]
    assert {'distill.loss_cwd', 'distill.loss_l2', 'student.decode.acc_seg'} <= set(training)
    assert {'aAcc', 'teacher.aAcc'} <= set(validation)


def test_a_teacher_without_the_auxiliary_head(tmp_path):
    losses = dict(loss_kl=dict(type='KLDivergence', **LOGITS))
    teacher = segmentor(8, auxiliary_head=False)
    assert not inspect_training(config_of(tmp_path, dict(distill_losses=losses), teacher=teacher)).faults
    aux = 'auxiliary_head.conv_seg'
    losses = dict(loss_kl=dict(type='KLDivergence', student=aux, teacher=aux))
    with pytest.raises(UserError, match=r"loss_kl\.teacher: expected a module of ToySegmentor, got 'auxiliary_head"):
        check_training(config_of(tmp_path, dict(distill_losses=losses), teacher=teacher))


def test_other_numbers_of_classes_are_refused(tmp_path):
    losses = dict(loss_cwd=dict(type='ChannelWiseDivergence', **LOGITS))
    with pytest.raises(UserError, match=r'\(2, 4, 4, 8\) \(student\) and preds_T \(2, 6, 4, 8\) \(teacher\)') as error:
        check_training(config_of(tmp_path, dict(distill_losses=losses), teacher=segmentor(8, num_classes=6)))
    # a trained convolution after the class maps would meet, and teach the student's own classes nothing
    assert 'if these are class maps, give both heads the same num_classes; if ' in error.value.faults[0].advice
