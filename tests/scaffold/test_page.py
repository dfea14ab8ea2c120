"""What a new config says follows from the models, the data and the method."""

from pathlib import Path

import pytest
from mmengine.config import Config

from kd_plugins.errors import UserError
from kd_plugins.scaffold import METHODS, Request, make_plan, write_page
from kd_plugins.scaffold.data import own_data
from kd_plugins.scaffold.libraries import LIBRARIES
from kd_plugins.scaffold.models import Model
from kd_plugins.scaffold.plan import Plan
from kd_plugins.scaffold.stages import Source, Stage

CONFIGS = Path(__file__).parents[2] / 'configs'
RESNET18 = 'resnet/resnet18_8xb32_in1k.py'
RESNET50 = 'resnet/resnet50_8xb32_in1k.py'


def page(tmp_path, teacher=RESNET50, student=RESNET18, method='fitnets', **changes):
    """The text of a config, and the config that it is."""
    out = tmp_path / 'new.py'
    text = write_page(make_plan(Request(method, teacher, student, out=out, configs=CONFIGS, **changes)))
    out.write_text(text)
    return text, Config.fromfile(out)


@pytest.fixture(scope='module')
def resnets(tmp_path_factory):
    return page(tmp_path_factory.mktemp('resnets'))


def test_header(resnets):
    text, _ = resnets
    header = text.split('_base_')[0].splitlines()
    assert [line.split(':')[0] for line in header] == ['# Purpose', '# Needs', '# Launch', '# Result']
    assert 'resnet50_8xb32_in1k into resnet18_8xb32_in1k' in header[0]
    assert 'data/imagenet' in header[1]
    assert header[2].startswith('# Launch: bash tools/dist_train.sh ')
    assert header[2].endswith('/new.py 8')
    assert header[3] == '# Result: not measured'


def test_says_what_was_paired(resnets):
    text, config = resnets
    assert '# Paired by resolution, student and teacher, at 224x224 pixels:' in text
    assert '#   backbone.layer3 256x14x14 (stride 16) and backbone.layer3 1024x14x14 (stride 16)' in text
    losses = config.model.distiller.distill_losses
    assert list(losses) == ['loss_stride16', 'loss_stride32', 'loss_kl']
    assert (losses.loss_stride32.student, losses.loss_stride32.teacher) == ('backbone.layer4', 'backbone.layer4')
    assert losses.loss_stride32.connector == 'auto'
    assert (losses.loss_kl.student, losses.loss_kl.teacher) == ('head.fc', 'head.fc')


def test_takes_over_the_students_own_recipe(resnets):
    text, config = resnets
    assert "_base_ = ['mmpretrain::resnet/resnet18_8xb32_in1k.py']" in text
    assert config.model.type == 'kd_plugins.SingleTeacherDistill'
    assert 'backbone' not in config.model
    assert config.optim_wrapper.optimizer.lr == 0.1
    assert config.train_dataloader.batch_size == 32
    assert config.val_cfg.type == 'kd_plugins.SingleTeacherDistillValLoop'


def test_takes_listed_weights(resnets):
    _, config = resnets
    assert config.model.teacher == dict(cfg_path=f'mmpretrain::{RESNET50}', pretrained=True)
    assert config.model.architecture == dict(cfg_path=f'mmpretrain::{RESNET18}', pretrained=False)
    assert 'teacher_ckpt' not in config.model


def test_model_config_is_short(resnets):
    text, _ = resnets
    lines = text[text.index('model = dict(') :].split('\n)\n')[0].splitlines()
    assert len(lines) <= 32
    assert max(map(len, text.splitlines())) <= 120


def test_given_weights_stand_for_listed_ones(tmp_path):
    text, config = page(tmp_path, method='kd', teacher_ckpt='work_dirs/teacher.pth')
    assert config.model.teacher.pretrained is False
    assert config.model.teacher_ckpt == 'work_dirs/teacher.pth'
    assert 'the teacher in work_dirs/teacher.pth' in text


def test_kd_compares_scores_alone(tmp_path):
    _, config = page(tmp_path, method='kd')
    assert list(config.model.distiller.distill_losses) == ['loss_kl']


def test_digits(tmp_path):
    text, config = page(tmp_path, dataset='digits')
    assert 'enlarge' not in text  # the images of the base are of this size
    assert config.train_dataloader.dataset.pipeline[0] == dict(type='Resize', scale=(32, 32))
    assert config.train_dataloader.dataset.type == 'kd_plugins.Digits'
    assert config.model.architecture.head == config.model.teacher.head == dict(num_classes=10, topk=(1,))
    assert config.model.teacher.pretrained is False
    assert config.model.teacher_ckpt is None
    assert 'train the teacher on these data' in text
    assert '# Launch: python tools/train.py' in text


@pytest.mark.parametrize('student', ['deit-tiny_4xb256_in1k', 'swin-tiny_16xb64_in1k', 'vgg11_8xb32_in1k'])
def test_digits_are_as_large_as_the_model_needs(tmp_path, student):
    _, config = page(tmp_path, student=student, dataset='digits')
    assert config.enlarge.scale == (224, 224)


def test_classes_in_the_backbone(tmp_path):
    _, config = page(tmp_path, student='vgg11bn_8xb32_in1k', dataset='digits', method='kd')
    assert config.model.architecture.backbone == dict(num_classes=10)
    assert config.model.distiller.distill_losses.loss_kl.student == 'head'


def test_data_that_the_student_was_not_made_for(tmp_path):
    text, config = page(tmp_path, 'resnet50_8xb16_cifar10', 'mobilenet-v2_8xb32_in1k', dataset='cifar10')
    assert config.train_dataloader.dataset.type == 'CIFAR10'
    assert config.model.architecture.head == dict(num_classes=10)
    assert config.model.teacher == dict(cfg_path='mmpretrain::resnet/resnet50_8xb16_cifar10.py', pretrained=True)
    assert 'it is not tuned for this student' in text
    # a ResNet for CIFAR-10 does not shrink its input at first: layer4 is where other networks are at stride 8
    losses = config.model.distiller.distill_losses
    assert (losses.loss_stride8.student, losses.loss_stride8.teacher) == ('backbone.layer3', 'backbone.layer4')


def test_a_teacher_of_other_data_is_not_pretrained(tmp_path):
    _, config = page(tmp_path, RESNET50, 'resnet18_8xb16_cifar10', method='kd', dataset='cifar10')
    assert config.model.teacher == dict(cfg_path=f'mmpretrain::{RESNET50}', pretrained=False, head=dict(num_classes=10))
    assert config.model.teacher_ckpt is None


def test_a_trained_teacher_gets_its_own_normalisation(tmp_path):
    text, config = page(tmp_path, teacher='regnetx-400mf_8xb128_in1k', method='kd')
    assert 'Images are normalised as the teacher was trained' in text
    assert config.data_preprocessor.mean == [103.53, 116.28, 123.675]
    assert config.data_preprocessor.to_rgb is False
    assert config.data_preprocessor.num_classes == 1000


IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)
TORCHVISION = dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))


def detector(preprocessor, where, on_top=False, **changes):
    """A model as mmdet ships it, and as mmseg does with its preprocessor on top as well."""
    whole = dict(model=dict(data_preprocessor=preprocessor, **changes))
    whole['train_dataloader'] = dict(dataset=dict(type='CocoDataset', data_root='data/coco/'))
    if on_top:
        whole['data_preprocessor'] = preprocessor
    return Model(LIBRARIES['mmdet'], f'mmdet::{where}/{where}.py', f'--{where}', Config(whole), 'https://weights')


def dense_page(tmp_path, student, teacher, **changes):
    """As :func:`page`, for two models that need not be built."""
    level = Stage(8, Source('neck', (2, 256, 40, 40), data_idx=0))
    request = Request('pkd', teacher.name, student.name, out=tmp_path / 'new.py', configs=CONFIGS, **changes)
    text = write_page(Plan(request, student, teacher, own_data(student.whole), (320, 320), [(level, level)], None))
    text = text.replace(f"_base_ = ['{student.path}']", 'model = dict()').replace('_delete_=True,', '')
    return text, Config.fromstring(text.replace('model = dict()\n', ''), '.py')


def test_a_detector_that_learns_from_scratch_takes_the_teachers_normalisation(tmp_path):
    text, config = dense_page(tmp_path, detector(IMAGENET, 'student'), detector(CAFFE, 'teacher'))
    assert config.model.type == 'kd_plugins.SingleTeacherDistill'
    assert config.model.architecture.data_preprocessor == CAFFE
    assert 'Images are normalised as the teacher was trained' in text


def test_a_teacher_without_normalisation(tmp_path):
    _, config = dense_page(tmp_path, detector(IMAGENET, 'student'), detector(dict(pad_size_divisor=32), 'teacher'))
    assert config.model.architecture.data_preprocessor == dict(mean=None, std=None, bgr_to_rgb=False)


@pytest.mark.parametrize('teacher', [dict(IMAGENET), dict(IMAGENET, mean=(123.675, 116.28, 103.53), pad_value=1)])
def test_normalisations_that_are_one(tmp_path, teacher):
    text, config = dense_page(tmp_path, detector(IMAGENET, 'student'), detector(teacher, 'teacher'))
    assert 'data_preprocessor' not in text
    assert 'ormalised' not in text
    assert config.model.type == 'kd_plugins.SingleTeacherDistill'


def test_the_preprocessor_on_top_of_the_students_config_is_the_one_that_counts(tmp_path):
    _, config = dense_page(tmp_path, detector(IMAGENET, 'student', on_top=True), detector(CAFFE, 'teacher'))
    assert config.data_preprocessor == CAFFE
    assert 'data_preprocessor' not in config.model.architecture


BEGUN = [dict(backbone=TORCHVISION), dict(pretrained='open-mmlab://resnet50_v1c', backbone=dict())]


@pytest.mark.parametrize('begun', BEGUN)
@pytest.mark.parametrize('on_top', [False, True])
def test_a_pretrained_student_keeps_its_normalisation(tmp_path, begun, on_top):
    teacher = detector(CAFFE, 'teacher')
    text, config = dense_page(tmp_path, detector(IMAGENET, 'student', on_top, **begun), teacher)
    assert 'data_preprocessor' not in config
    assert config.model.type == 'kd_plugins.MultiTeacherDistill'
    assert config.model.architecture == dict(cfg_path='mmdet::student/student.py', pretrained=False)
    assert config.model.teachers == dict(
        teacher=dict(
            build_cfg=dict(cfg_path=teacher.path, pretrained=True),
            data_preprocessor=dict(mean=CAFFE['mean'], std=CAFFE['std'], to_rgb=False),
        )
    )
    assert 'teacher' not in config.model
    loss = config.model.distiller.distill_losses.loss_stride8
    assert loss.student == dict(source='neck', data_idx=0)
    assert loss.teacher == dict(source='teacher.neck', data_idx=0)
    assert 'Each model gets images that are normalised as its weights were trained' in text


def test_a_pretrained_student_of_a_teacher_without_normalisation(tmp_path):
    student, teacher = detector(IMAGENET, 'student', backbone=TORCHVISION), detector({}, 'teacher')
    _, config = dense_page(tmp_path, student, teacher, teacher_ckpt='work_dirs/teacher.pth')
    assert config.model.teachers.teacher == dict(
        build_cfg=dict(cfg_path=teacher.path, pretrained=False),
        ckpt_path='work_dirs/teacher.pth',
        data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3, to_rgb=False),
    )
    assert 'teacher_ckpt' not in config.model


def test_a_pretrained_student_of_one_normalisation(tmp_path):
    student = detector(IMAGENET, 'student', backbone=TORCHVISION)
    _, config = dense_page(tmp_path, student, detector(IMAGENET, 'teacher'))
    assert config.model.type == 'kd_plugins.SingleTeacherDistill'


def test_says_that_images_are_mixed(tmp_path):
    text, _ = page(tmp_path, student='deit-tiny_4xb256_in1k', dataset='digits', method='kd')
    assert 'mixed images (Mixup and CutMix)' in text


def test_elements_of_tuples(tmp_path):
    _, config = page(tmp_path, teacher='swin-tiny_16xb64_in1k', dataset='digits')
    source = config.model.distiller.distill_losses.loss_stride32.teacher
    assert source == dict(source='backbone.stages.3', data_idx=0)


def test_no_stages_and_no_scores(monkeypatch, tmp_path):
    monkeypatch.setattr('kd_plugins.scaffold.plan.find_logits', lambda rows, classes: None)
    text, config = page(tmp_path, dataset='digits')
    assert sorted(config.model.distiller.distill_losses) == ['loss_stride16', 'loss_stride8']
    assert 'No loss compares class scores' in text
    with pytest.raises(UserError, match='--student: expected a head with a module that returns 10 class scores'):
        page(tmp_path, dataset='digits', method='kd')
    monkeypatch.setattr('kd_plugins.scaffold.plan.find_stages', lambda rows, size: [])
    with pytest.raises(UserError, match='--student: expected a backbone whose modules return maps'):
        page(tmp_path, dataset='digits')


def test_refuses_what_is_no_classifier(tmp_path):
    with pytest.raises(UserError, match='--student: expected the config of an image classifier'):
        page(tmp_path, student='mae_vit-base-p16_8xb512-amp-coslr-300e_in1k')


def test_refuses_images_that_a_model_does_not_take(tmp_path):
    with pytest.raises(UserError, match='--teacher: expected a model that takes images of 32 x 32 pixels'):
        page(tmp_path, teacher='vgg11bn_8xb32_in1k', student='resnet18_8xb16_cifar10', dataset='cifar10')


def test_methods_are_described():
    assert set(METHODS) == {'kd', 'fitnets', 'pkd', 'cwd'}
    assert all(method.summary and '\n' not in method.summary for method in METHODS.values())
