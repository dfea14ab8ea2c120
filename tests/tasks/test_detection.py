"""A detector of another library is distilled: tuples of maps, a shared head, boxes."""

import copy

import pytest
import torch
import toy_detector
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from task_runs import logged, published_model, published_root, scalars, task_config, train, write
from toy_detector import DATASETS, MODELS, ToyBoxes, ToyDetector

from kd_plugins.algorithms import FpnTeacherDistill
from kd_plugins.errors import UserError
from kd_plugins.losses import KLDivergence, L2Loss
from kd_plugins.preflight import check_training, inspect_modules, inspect_training
from tools import check_config, export_student
from tools import train as train_tool

HEAD = 'toy_detector.ToyGFLHead'
PIPELINE = [dict(type='LoadToyImage'), dict(type='LoadToyBoxes'), dict(type='PackToyDetInputs')]


@DATASETS.register_module()
class AbsentBoxes(ToyBoxes):
    """Annotations that are not there."""

    def load_data_list(self):
        raise FileNotFoundError('no annotations')


@MODELS.register_module()
class ToyDetectorWithLosses(ToyDetector):
    """Gives its losses behind its predictions, as mmengine lets models do."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        outputs = super().forward(inputs, data_samples, mode)
        if mode != 'predict':
            return outputs
        return [*outputs, BaseDataElement(loss=super().forward(inputs, data_samples, 'loss'))]


def detector(channels, width=8, extra=False, **changes):
    return dict(
        type='ToyDetector',
        backbone=dict(type='ToyPyramid', channels=channels),
        neck=dict(type='ToyFPN', out_channels=width, add_extra_convs=extra),
        bbox_head=dict(type='ToyGFLHead', feat_channels=channels),
        data_preprocessor=dict(type='ToyDetPreprocessor', mean=[127.0] * 3, std=[60.0] * 3, pad_size_divisor=16),
        **changes,
    )


def config_of(
    work_dir, distiller, kind='SingleTeacherDistill', student=None, teacher=None, dataset='ToyBoxes', **dataset_changes
):
    model = dict(
        type=f'kd_plugins.{kind}',
        architecture=student or detector(4),
        teacher=teacher or detector(8),
        distiller=dict({'type': 'ConfigurableDistiller'}, **distiller),
    )
    dataset = dict({'type': dataset, 'pipeline': PIPELINE}, **dataset_changes)
    return task_config(toy_detector, work_dir, model, dataset, 'ToyOverlap')


def short(**losses):
    return dict(distill_losses=losses)


def both(**source):
    """One source of both sides."""
    return dict(student=dict(source), teacher=dict(source))


def faults_of(tmp_path, **losses):
    return [str(fault) for fault in inspect_training(config_of(tmp_path, short(**losses))).faults]


def level(index, **loss):
    return dict(loss, **both(source='neck', data_idx=index))


FEATURES = {
    'l2': dict(loss_l2=level(0, type='L2Loss'), loss_last=level(-1, type='L2Loss', normalize=False)),
    'l1': dict(loss_l1=level(1, type='L1Loss')),
    'binary kl': dict(loss_kl=dict(type='BinaryKLDivergence', **both(source='bbox_head.gfl_cls', record_idx=2))),
    'pkd': {f'loss_pkd{index}': level(index, type='PKDLoss', loss_weight=6) for index in range(4)},
    'pkd of all levels': dict(loss_pkd=dict(type='PKDLoss', student='neck', teacher='neck')),
    'cwd': dict(loss_cwd=level(0, type='ChannelWiseDivergence', tau=2)),
    'mgd': dict(loss_mgd=level(2, type='MGDLoss', connector=dict(type='MGDConnector'))),
    'fbkd': dict(
        loss_fbkd=dict(
            type='FBKDLoss',
            student=dict(source='neck', data_idx=1, connector=dict(type='FBKDStudentConnector', reduction=2)),
            teacher=dict(source='neck', data_idx=1, connector=dict(type='FBKDTeacherConnector', reduction=2)),
        )
    ),
    'auto': dict(
        loss_stage=dict(type='L2Loss', **both(source='backbone', data_idx=1), connector='auto'),
        loss_strides=dict(
            type='L2Loss',
            student=dict(source='backbone', data_idx=1),
            teacher=dict(source='backbone', data_idx=2),
            connector='auto',
        ),
    ),
}


class TestShortForm:
    @pytest.mark.parametrize('losses', FEATURES.values(), ids=FEATURES)
    def test_trains_and_validates(self, tmp_path, losses):
        values = logged(train(config_of(tmp_path, short(**copy.deepcopy(losses)))))
        assert {'student.loss_cls', 'student.loss_bbox', *(f'distill.{name}' for name in losses)} <= set(values)
        assert all(values[f'distill.{name}'] > 0 for name in losses)
        assert {'overlap', 'teacher.overlap'} <= set(values)

    def test_auto_follows_each_level(self, tmp_path):
        config = config_of(tmp_path, short(**copy.deepcopy(FEATURES['auto'])))
        check_training(config)
        losses = config.model.distiller.distill_losses
        assert losses.loss_stage.connector == dict(
            type='kd_plugins.ConvModuleConnector', in_channel=8, out_channel=16, act_cfg=None
        )
        kinds = [part.type for part in losses.loss_strides.connector]
        assert kinds == ['kd_plugins.ResizeConnector', 'kd_plugins.ConvModuleConnector']


class TestHead:
    """Records of a method and of a function that a head calls level by level."""

    def test_a_method_that_returns_a_pair(self, tmp_path):
        source = dict(type='MethodOutputs', source=f'{HEAD}.forward_single', record_idx=1, data_idx=0)
        loss = self._loss(tmp_path, loss_kl=dict(type='KLDivergence', tau=2, **both(**source)))
        scores = [model.bbox_head(feats)[0][1] for model, feats in self.models]
        assert loss == pytest.approx(KLDivergence(tau=2)(*scores).item(), rel=1e-5)

    def test_a_functions_outputs(self, tmp_path):
        source = dict(type='FunctionOutputs', source='toy_detector.expected_distance', record_idx=3)
        loss = self._loss(tmp_path, loss_distance=dict(type='L2Loss', **both(**source)))
        distances = [toy_detector.expected_distance(model.bbox_head(feats)[1][3]) for model, feats in self.models]
        assert loss == pytest.approx(L2Loss()(*distances).item(), rel=1e-5)

    def test_a_methods_inputs(self, tmp_path):
        source = dict(type='MethodInputs', source=f'{HEAD}.forward_single', record_idx=2, data_idx=0)
        loss = self._loss(tmp_path, loss_feat=dict(type='L2Loss', **both(**source)))
        assert loss == pytest.approx(L2Loss()(*(feats[2] for _, feats in self.models)).item(), rel=1e-5)

    def test_a_loss_per_level(self, tmp_path):
        source = dict(type='MethodOutputs', source=f'{HEAD}.loss_by_feat_single', record_idx=0, data_idx=0)
        loss = self._loss(tmp_path, loss_l1=dict(type='L1Loss', **both(**source)))
        assert loss >= 0

    def test_a_record_of_one_side_is_of_that_side(self, tmp_path):
        """Both models have heads of one class."""
        source = f'{HEAD}.forward_single'
        config = config_of(
            tmp_path,
            dict(
                student_recorders=dict(cls=dict(type='MethodOutputs', source=source)),
                teacher_recorders=dict(feats=dict(type='MethodInputs', source=source)),
                connectors=dict(widen=dict(type='ConvModuleConnector', in_channel=3, out_channel=8)),
                distill_losses=dict(loss_l2=dict(type='L2Loss')),
                loss_forward_mappings=dict(
                    loss_l2=dict(
                        s_feature=dict(recorder='cls', from_student=True, record_idx=4, data_idx=0, connector='widen'),
                        t_feature=dict(recorder='feats', from_student=False, record_idx=4, data_idx=0),
                    )
                ),
            ),
        )
        assert logged(train(config))['distill.loss_l2'] > 0

    def _loss(self, tmp_path, **losses):
        """The distill loss of one batch; keeps both models with their levels, in eval mode."""
        config = config_of(tmp_path, short(**losses))
        assert not inspect_training(config).faults
        runner = Runner.from_cfg(config)
        algorithm = runner.model.eval()
        data = algorithm.data_preprocessor(next(iter(runner.train_dataloader)), True)
        (loss,) = (value for name, value in algorithm(**data, mode='loss').items() if name.startswith('distill.'))
        with torch.no_grad():
            self.models = [
                (model, model.extract_feat(data['inputs'])) for model in (algorithm.student, algorithm.teacher)
            ]
        return loss.item()


class TestRefused:
    """What cannot be compared is refused before the run, under the key that was written."""

    @pytest.mark.parametrize(
        ('source', 'got'),
        [
            (dict(source='neck'), 'a tuple'),
            (dict(source='bbox_head', data_idx=0), 'a list'),
            (dict(type='MethodInputs', source=f'{HEAD}.loss_by_feat', data_idx=0), 'a list'),
            (dict(type='MethodOutputs', source=f'{HEAD}.loss_by_feat'), 'a dict'),
        ],
        ids=str,
    )
    def test_what_is_no_tensor(self, tmp_path, source, got):
        (fault,) = faults_of(tmp_path, loss_l2=dict(type='L2Loss', **both(**source)))
        assert fault.startswith('model.distiller.distill_losses.loss_l2.student: expected a tensor, got ' + got)

    def test_an_element_of_a_dict(self, tmp_path):
        source = dict(type='MethodOutputs', source=f'{HEAD}.loss_by_feat', data_idx=0)
        faults = faults_of(tmp_path, loss_l2=dict(type='L2Loss', **both(**source)))
        assert all(f'{HEAD}.loss_by_feat' in fault and 'data_idx=0 of a dict' in fault for fault in faults)
        assert len(faults) == 2

    def test_a_level_that_is_not_there(self, tmp_path):
        source = dict(source='neck', data_idx=5)
        for fault in faults_of(tmp_path, loss_l2=dict(type='L2Loss', **both(**source))):
            assert 'data_idx=5 of a tuple with 5 elements' in fault

    def test_one_call_of_several(self, tmp_path):
        for fault in faults_of(tmp_path, loss_l2=dict(type='L2Loss', **both(source='bbox_head.gfl_cls'))):
            assert 'the number of one of the 5 calls' in fault

    def test_auto_for_a_tuple(self, tmp_path):
        loss = dict(type='L2Loss', student='backbone', teacher='backbone', connector='auto')
        (fault,) = faults_of(tmp_path, loss_l2=loss)
        assert 'expected two tensors, got s_feature [2x4x16x16, 2x8x8x8, 2x16x4x4, 2x16x2x2]' in fault
        assert fault.endswith('choose an element of it with data_idx')

    def test_heads_of_other_numbers_of_classes(self, tmp_path):
        teacher = detector(8)
        teacher['bbox_head']['num_classes'] = 5
        losses = short(loss_kl=dict(type='KLDivergence', **both(source='bbox_head.gfl_cls', record_idx=0)))
        with pytest.raises(UserError, match=r'\(2, 3, 16, 16\) \(student\) and preds_T \(2, 5, 16, 16\) \(teacher\)'):
            check_training(config_of(tmp_path, losses, teacher=teacher))
        # what is compared before the heads may be meant
        findings = check_training(config_of(tmp_path, short(loss_pkd=level(0, type='PKDLoss')), teacher=teacher))
        assert '5 classes of the teacher and 3 of the student' in [warning.got for warning in findings.warnings]


class TestFpnTeacher:
    def test_the_teachers_head_rests_but_for_the_validation(self, tmp_path):
        config = config_of(tmp_path, short(loss_l2=level(0, type='L2Loss')), 'FpnTeacherDistill')
        assert not inspect_training(config).faults
        runner = Runner.from_cfg(config)
        calls = []
        runner.model.teacher.bbox_head.register_forward_hook(lambda *_: calls.append(runner.model.training))
        runner.train()
        assert isinstance(runner.model, FpnTeacherDistill)
        assert calls == [False, False]  # two batches of the validation

    def test_a_source_in_the_teachers_head_is_refused(self, tmp_path):
        loss = dict(type='KLDivergence', **both(source='bbox_head.gfl_cls', record_idx=0))
        with pytest.raises(UserError, match=r"loss_kl\.teacher\.source: .*'bbox_head\.gfl_cls', which ran not once"):
            check_training(config_of(tmp_path, short(loss_kl=loss), 'FpnTeacherDistill'))

    def test_costs_less_than_the_whole_teacher(self, tmp_path):
        losses = short(loss_l2=level(0, type='L2Loss'))
        neck, early, whole = (
            config_of(tmp_path, losses, f'{kind}Distill') for kind in ('FpnTeacher', *['SingleTeacher'] * 2)
        )
        whole.model.teacher_forward = dict(stop_early=False)
        neck, early, whole = (inspect_training(config).cost.teacher for config in (neck, early, whole))
        assert 0 < neck == early < whole


class TestData:
    """Images without boxes are not enough for a detector; its own data are."""

    LOSSES = short(loss_l2=level(0, type='L2Loss'))
    PIPELINE = [*PIPELINE[:2], dict(type='Resize', scale=(32, 32)), PIPELINE[2]]

    def test_the_data_are_asked_where_made_up_images_have_no_boxes(self, tmp_path):
        findings = inspect_training(config_of(tmp_path, self.LOSSES, pipeline=self.PIPELINE))
        assert findings.faults == []
        assert [warning.where for warning in findings.warnings] == ['model.teacher']  # its weights are random
        assert findings.batch == (2, 3, 32, 32)
        assert findings.losses[0].value > 0

    def test_without_data_a_stumble_over_boxes_is_a_warning(self, tmp_path):
        config = config_of(tmp_path, self.LOSSES, dataset='AbsentBoxes', pipeline=self.PIPELINE)
        findings = inspect_training(config, ready=False)
        assert findings.faults == []
        (warning,) = [warning for warning in findings.warnings if warning.where == 'train_dataloader.dataset']
        assert 'made-up colour images alone, over which' in warning.got

    def test_modules_with_tuples_are_listed(self, tmp_path):
        config = config_of(tmp_path, self.LOSSES)
        rows = {row.name: row for row in inspect_modules(config, 'student')}
        sizes = [(2, 8, side, side) for side in (16, 8, 4, 2, 1)]
        assert rows['neck'].outputs == (sizes,)
        assert len(rows['bbox_head.gfl_cls']) == 5


class TestValidation:
    def test_a_teacher_that_gives_its_losses_too(self, tmp_path):
        models = [detector(channels) for channels in (4, 8)]
        for model in models:
            model['type'] = 'ToyDetectorWithLosses'
        losses = short(loss_l2=level(0, type='L2Loss'))
        metrics = Runner.from_cfg(config_of(tmp_path, losses, student=models[0], teacher=models[1])).val()
        names = {'overlap', 'loss_cls', 'loss_bbox', 'val_loss'}
        assert set(metrics) == names | {f'teacher.{name}' for name in names}
        assert metrics['teacher.loss_cls'] != metrics['loss_cls']


def test_a_config_file_trains_by_the_command(tmp_path):
    losses = {
        'loss_pkd': level(0, type='PKDLoss'),
        'loss_stage': dict(type='L2Loss', **both(source='backbone', data_idx=0), connector='auto'),
        'loss_ld': dict(
            type='KLDivergence',
            **both(type='MethodOutputs', source=f'{HEAD}.forward_single', record_idx=0, data_idx=1),
        ),
    }
    path = write(config_of(tmp_path / 'run', short(**losses)), tmp_path / 'detector.py')
    assert check_config.main([str(path)]) == 0
    assert train_tool.main([str(path)]) == 0
    training, validation = scalars(tmp_path / 'run')[-2:]
    assert {f'distill.{name}' for name in losses} <= set(training)
    assert {'overlap', 'teacher.overlap'} <= set(validation)
    state = torch.load(tmp_path / 'run/epoch_1.pth', weights_only=True)['state_dict']
    assert {name.split('.')[0] for name in state} == {'architecture', 'distiller'}
    student = tmp_path / 'student.pth'
    assert export_student.main([str(path), str(tmp_path / 'run/epoch_1.pth'), str(student)]) == 0
    plain = MODELS.build(detector(4))
    plain.load_state_dict(torch.load(student, weights_only=True)['state_dict'])
    assert torch.equal(plain.bbox_head.gfl_cls.weight, state['architecture.bbox_head.gfl_cls.weight'])


PUBLISHED = {
    'mmdet/cwd/cwd_cls_head_gfl_r101_fpn_gfl_r50_fpn_1x_coco.py': 5,
    'mmdet/cwd/cwd_fpn_frcnn_r101_frcnn_r50_1x_coco.py': 5,
    'mmdet/cwd/cwd_fpn_retina_r101_retina_r50_1x_coco.py': 5,
    'mmdet/cwd/cwd_fpn_retina_r101_retina_r50_1x_coco_visualization.py': 5,
    'mmdet/fbkd/fbkd_fpn_faster-rcnn_r101_faster-rcnn_r50_1x_coco.py': 4,
    'mmdet/mgd/mgd_fpn_retina_x101_retina_r50_2x_coco.py': 5,
    'mmdet/pkd/pkd_fpn_faster-rcnn_r101_faster-rcnn_r50_2x_coco.py': 4,
    'mmdet/pkd/pkd_fpn_fcos_x101_retina_r50_1x_coco.py': 4,
    'mmdet/pkd/pkd_fpn_mask-rcnn_swin_retina_r50_2x_coco.py': 4,
    'mmdet/pkd/pkd_fpn_reppoints_x101-dcn_reppoints_r50_2x_coco.py': 4,
    'mmdet/pkd/pkd_fpn_retina_x101_retina_r50_2x_coco.py': 4,
    'mmdet3d/pkd/pkd_fpn_fcos3d_r101_fcos3d_r50_8xb2-1x_nus-mono3d.py': 4,
}


class TestPublished:
    """The distillers of MMRazor's detection configs as they are, on pyramids of their 256 channels."""

    def test_all_of_them(self):
        root = published_root()
        assert sorted(PUBLISHED) == sorted(str(path.relative_to(root)) for path in root.glob('mmdet*/*/*.py'))

    @pytest.mark.parametrize(('name', 'losses'), PUBLISHED.items())
    def test_trains(self, tmp_path, name, losses):
        model = published_model(name)
        extra = '/mgd/' in name
        # the pooling inside of FBKD's connectors needs maps of 16, 8, 4 and 4 pixels
        pixels = 64 if '/fbkd/' in name else 16
        config = config_of(
            tmp_path,
            model['distiller'],
            model['type'],
            student=detector(4, width=256, extra=extra),
            teacher=detector(8, width=256, extra=extra),
            images=2,
            pixels=pixels,
        )
        values = logged(train(config))
        names = {name for name in values if name.startswith('distill.')}
        assert len(names) == losses
        assert all(values[name] >= 0 for name in names)
        assert sum(values[name] for name in names) > 0
        assert {'overlap', 'teacher.overlap'} <= set(values)

    def test_weights_are_those_of_the_file(self):
        model = published_model('mmdet/pkd/pkd_fpn_retina_x101_retina_r50_2x_coco.py')
        assert model['distiller']['distill_losses']['loss_pkd_fpn0'] == dict(type='PKDLoss', loss_weight=10)


def prediction_warnings(tmp_path, source, kind='KLDivergence'):
    loss = dict(type=kind, **both(source=source, record_idx=0))
    findings = inspect_training(config_of(tmp_path, short(loss_a=loss), student=detector(4), teacher=detector(4)))
    assert findings.faults == []
    return [(fault.where, fault.got) for fault in findings.warnings if fault.where.endswith('loss_a.type')]


def test_a_softmax_over_the_sigmoids_of_a_dense_head(tmp_path):
    ((_, got),) = prediction_warnings(tmp_path, 'bbox_head.gfl_cls')
    assert got.startswith('KLDivergence')
    assert "the student's 'bbox_head.gfl_cls', of a ToyGFLHead" in got


@pytest.mark.parametrize(
    ('source', 'kind'),
    [
        ('bbox_head.cls_conv', 'KLDivergence'),
        ('bbox_head.gfl_reg', 'KLDivergence'),
        ('bbox_head.gfl_cls', 'BinaryKLDivergence'),
        ('bbox_head.gfl_cls', 'ChannelWiseDivergence'),
    ],
)
def test_features_and_boxes_of_a_dense_head_are_no_sigmoids(source, kind, tmp_path):
    assert prediction_warnings(tmp_path, source, kind) == []
