"""Losses that take a softmax of what is none: multi-label heads, dense heads with a sigmoid, one and two classes."""

import re
from pathlib import Path

import pytest
from mmengine.registry import TRANSFORMS
from mmpretrain.datasets import PackInputs

import kd_plugins.losses
from kd_plugins.engine.config import load_config
from kd_plugins.preflight import inspect_training
from kd_plugins.preflight.predictions import SOFTMAX_LOSSES

CONFIGS = Path(__file__).parents[2] / 'configs/quickstart'


@TRANSFORMS.register_module()
class PackFewClasses(PackInputs):
    """Makes one or two classes of the ten digits."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def transform(self, results):
        return super().transform({**results, 'gt_label': results['gt_label'] % self.classes})


BCE = dict(type='CrossEntropyLoss', use_sigmoid=True)
LABELS = dict(type='ModuleInputs', source='head.loss_module', data_idx=1)
SINGLE = dict(type='LinearClsHead')
MULTI = dict(type='MultiLabelLinearClsHead')
CSRA = dict(type='CSRAClsHead', num_heads=1, lam=0.1)
PLAIN = dict(type='LinearClsHead', loss=BCE)


def config_of(tmp_path, loss, student=MULTI, teacher=MULTI, classes=10):
    """The pair of the digits with other heads."""
    config = load_config(CONFIGS / 'kd_vgg_cnn_digits.py')
    config.work_dir = str(tmp_path)
    config.model.teacher_ckpt = None
    config.data_preprocessor.update(num_classes=classes, to_onehot=student is PLAIN)
    if classes < 10:
        config.train_dataloader.dataset.pipeline = [dict(type='PackFewClasses', classes=classes)]
    for model, head, width in ((config.model.architecture, student, 128), (config.model.teacher, teacher, 256)):
        model.head = dict(in_channels=width, num_classes=classes, **head)
        if head['type'] == CSRA['type']:
            model.pop('neck')
    config.model.distiller.distill_losses = dict(loss_a=loss)
    return config


def warned(config):
    """Key path and what was found, of the warnings about losses; faults are none of these configs'."""
    findings = inspect_training(config)
    assert findings.faults == []
    return [(fault.where, fault.got, fault.advice) for fault in findings.warnings if 'distill_losses' in fault.where]


def loss_of(kind, source='head.fc', **options):
    return dict(type=kind, student=source, teacher=source, **options)


def labelled(kind, **options):
    name = 'student' if kind == 'WSLD' else 'preds_S'
    return dict(type=kind, student={name: 'head.fc', 'gt_labels': LABELS}, teacher='head.fc', **options)


@pytest.mark.parametrize(
    'kind', ['KLDivergence', 'KDSoftCELoss', 'DISTLoss', 'CrossEntropyLoss', 'mmrazor.KLDivergence']
)
@pytest.mark.parametrize('source', ['head.fc', 'head'])
def test_a_softmax_over_several_labels(kind, source, tmp_path):
    ((where, got, advice),) = warned(config_of(tmp_path, loss_of(kind, source)))
    assert where == 'model.distiller.distill_losses.loss_a.type'
    assert got.startswith(kind.removeprefix('mmrazor.'))
    for side in ('student', 'teacher'):
        assert f"the {side}'s '{source}', of a MultiLabelLinearClsHead with CrossEntropyLoss" in got
    assert "type='BinaryKLDivergence'" in advice


@pytest.mark.parametrize('loss', [dict(type='AsymmetricLoss'), dict(type='FocalLoss')])
def test_other_losses_of_such_heads(loss, tmp_path):
    head = dict(MULTI, loss=loss)
    ((_, got, _),) = warned(config_of(tmp_path, loss_of('KLDivergence'), head, head))
    assert f'MultiLabelLinearClsHead with {loss["type"]}' in got


def test_a_head_that_does_not_tell_its_classes(tmp_path):
    ((_, got, _),) = warned(config_of(tmp_path, loss_of('KLDivergence', 'head'), CSRA, CSRA))
    assert 'CSRAClsHead' in got


@pytest.mark.parametrize(('student', 'teacher', 'side'), [(MULTI, SINGLE, 'student'), (SINGLE, MULTI, 'teacher')])
def test_one_such_head(student, teacher, side, tmp_path):
    ((_, got, _),) = warned(config_of(tmp_path, loss_of('KLDivergence'), student, teacher))
    assert re.findall(r"the (student|teacher)'s", got) == [side]


@pytest.mark.parametrize('kind', ['DKDLoss', 'WSLD'])
@pytest.mark.parametrize('labels', ['index', 'argmax'])
def test_losses_with_labels_are_refused_with_the_same_advice(kind, labels, tmp_path):
    options = dict(num_classes=10) if kind == 'WSLD' else {}
    findings = inspect_training(config_of(tmp_path, labelled(kind, labels=labels, **options)))
    assert all('gt_labels' in fault.where for fault in findings.faults)
    messages = [*findings.faults, *(fault for fault in findings.warnings if 'loss_a' in fault.where)]
    assert messages
    assert all('BinaryKLDivergence' in fault.advice for fault in messages)


@pytest.mark.parametrize(
    ('loss', 'student', 'teacher'),
    [
        (loss_of('BinaryKLDivergence'), MULTI, MULTI),
        (loss_of('L2Loss'), MULTI, MULTI),
        (loss_of('KLDivergence'), SINGLE, SINGLE),
        # trained with binary cross entropy, but predicts the largest class
        (loss_of('KLDivergence'), PLAIN, PLAIN),
        (labelled('DKDLoss'), SINGLE, SINGLE),
        # features of a model with a multi-label head
        (loss_of('KLDivergence', 'neck.gap', connector='auto'), MULTI, MULTI),
        # a multi-label head that is trained with a softmax
        (loss_of('KLDivergence'), *[dict(MULTI, loss=dict(type='CrossEntropyLoss'))] * 2),
    ],
    ids=['binary', 'regression', 'softmax', 'BCE of one label', 'DKD', 'features', 'softmax of a multi-label head'],
)
def test_what_is_right_passes_without_a_word(loss, student, teacher, tmp_path):
    assert warned(config_of(tmp_path, loss, student, teacher)) == []


def test_two_classes_leave_dkd_one_part(tmp_path):
    config = config_of(tmp_path, labelled('DKDLoss'), SINGLE, SINGLE, classes=2)
    ((where, got, advice),) = warned(config)
    assert where == 'model.distiller.distill_losses.loss_a.beta'
    assert 'the non-target part is 0' in got
    assert 'KLDivergence' in advice


@pytest.mark.parametrize('kind', ['KLDivergence', 'KDSoftCELoss', 'DISTLoss'])
def test_one_class_leaves_nothing(kind, tmp_path):
    config = config_of(tmp_path, loss_of(kind), MULTI, MULTI, classes=1)
    ((where, got, _),) = warned(config)
    assert where.endswith('loss_a.type')
    assert '1 class' in got


def test_several_teachers_together(tmp_path):
    config = config_of(tmp_path, loss_of('KLDivergence'))
    teacher = config.model.pop('teacher')
    config.model.pop('teacher_ckpt')
    config.model.update(
        type='kd_plugins.MultiTeacherDistill', teachers=dict(a=dict(build_cfg=teacher), b=dict(build_cfg=teacher))
    )
    config.model.distiller.distill_losses.loss_a.teacher = dict(type='AveragedLogits', source='head.fc')
    config.val_cfg = dict(type='ValLoop')
    ((_, got, _),) = warned(config)
    assert "the teacher's 'head.fc', of a MultiLabelLinearClsHead" in got


@pytest.mark.parametrize('arguments', [{}, dict(preds_S=dict(from_student=True, recorder='fc'), preds_T=dict(fc=1))])
def test_a_loss_to_which_nothing_is_forwarded_is_refused(arguments, tmp_path):
    config = config_of(tmp_path, {}, PLAIN, PLAIN)
    fc = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
    config.model.distiller = dict(
        type='ConfigurableDistiller',
        student_recorders=fc,
        teacher_recorders=fc,
        distill_losses=dict(loss_kl=dict(type='KLDivergence')),
        loss_forward_mappings=dict(loss_kl=arguments),
    )
    assert any('loss_kl' in fault.where for fault in inspect_training(config).faults)


def test_every_loss_with_a_softmax_over_classes_is_known():
    """A new loss that takes one is warned of too, or named here with the reason."""
    others = {
        'ChannelWiseDivergence': 'over positions',
        'SoftenedCrossEntropy': "a head's own loss",
        'ActivationLoss': 'none',
    }
    folder = Path(kd_plugins.losses.__file__).parent
    names = set()
    for path in folder.glob('*.py'):
        text = path.read_text()
        if re.search(r'softmax\(|F\.cross_entropy\(', text):
            names.update(re.findall(r'^class (\w+)\(nn\.Module\)', text, re.M))
    assert names - set(others) == set(SOFTMAX_LOSSES)
