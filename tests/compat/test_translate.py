"""Configs of MMRazor become ours; in every other config mmrazor.X stays what it says."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmpretrain.models import ClsDataPreprocessor

from kd_plugins.compat.catalogue import MMCLS_CONFIGS, mmcls_folder
from kd_plugins.compat.translate import mmrazor_types, translate
from kd_plugins.engine.config import load_config
from kd_plugins.errors import UserError


def walk(node):
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        yield from walk(child)


def model(**changes):
    return dict(
        _scope_='mmrazor',
        type='SingleTeacherDistill',
        architecture=dict(cfg_path='mmcls::resnet/resnet18_8xb32_in1k.py', pretrained=False),
        teacher=dict(type='mmcls.ImageClassifier', backbone=dict(type='WideResNet'), neck=dict(type='theirs.Neck')),
        distiller=dict(
            type='ConfigurableDistiller',
            student_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
            teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
            connectors=dict(
                conv=dict(type='ConvModuleConnector', in_channel=4, out_channel=6, norm_cfg=dict(type='BN'))
            ),
            distill_losses=dict(loss_kl=dict(type='KLDivergence')),
            loss_forward_mappings=dict(
                loss_kl=dict(
                    preds_S=dict(from_student=True, recorder='fc', connector='conv'),
                    preds_T=dict(from_student=False, recorder='fc', record_idx=2),
                )
            ),
        ),
        **changes,
    )


def translated(**config):
    return translate(Config(config))


class TestTheConfigsOfTheWheel:
    """All of them, as they lie in the installed package."""

    pytestmark = pytest.mark.filterwarnings('ignore')

    @pytest.fixture(autouse=True)
    def _needs_mmrazor(self):
        pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')

    def test_none_is_left_out(self):
        files = mmcls_folder().glob('*/*.py')
        assert {file.relative_to(mmcls_folder()).as_posix() for file in files} == set(MMCLS_CONFIGS)
        assert len(MMCLS_CONFIGS) == 19

    @pytest.mark.parametrize('name', MMCLS_CONFIGS)
    def test_loads_as_a_native_config(self, name, capsys):
        config = load_config(mmcls_folder() / name)
        assert config.model.type.startswith('kd_plugins.')
        assert config.default_scope == 'mmpretrain'
        for node in walk(config._cfg_dict):
            if isinstance(node, str):
                assert 'mmcls' not in node.replace('mmclassification', '')
                assert node.rpartition('.')[0] != 'mmrazor' or node == 'mmrazor.WideResNet'
            if isinstance(node, dict):
                assert node.get('_scope_') != 'mmrazor'
        told = capsys.readouterr().err
        assert f'{name}: read for kd_plugins and mmpretrain\n' in told
        assert 'mmrazor.X -> kd_plugins.X: ' in told
        # what users read at the door: how many lines it takes
        assert 5 <= len(told.splitlines()) <= 12

    def test_options_name_the_keys_of_the_file(self, capsys):
        name = 'ofd/ofd_backbone_resnet50_resnet18_8xb16_cifar10.py'
        config = load_config(mmcls_folder() / name, {'model.data_preprocessor.bgr_to_rgb': True})
        assert config.model.data_preprocessor.to_rgb is True

    @pytest.mark.parametrize('name', ['byot/byot_resnet18_8xb16_cifar100.py', 'crd/crd_neck_r50_r18_8xb16_cifar10.py'])
    def test_validates_on_the_test_split(self, name, capsys):
        config = load_config(mmcls_folder() / name)
        val, train = config.val_dataloader.dataset, config.train_dataloader.dataset
        assert val.get('dataset', val).split == 'test'
        assert 'split' not in train.get('dataset', train)

    def test_what_is_from_the_package_is_found_through_the_bridge(self, capsys):
        config = load_config(mmcls_folder() / 'ofd/ofd_backbone_resnet50_resnet18_8xb16_cifar10.py')
        assert mmrazor_types(config) == ['model.architecture.backbone.type', 'model.teacher.backbone.type']
        assert config.model.teacher.backbone.depth == 28
        assert config.model.architecture.head.in_channels == 128

    def test_deit_needs_no_timm(self, capsys):
        path = mmcls_folder() / 'deit/deit-base_regnety160_pt-16xb64_in1k.py'
        backbone = load_config(path).model.teacher.backbone
        assert backbone.type == 'kd_plugins.RegNetY'
        assert backbone.init_cfg.checkpoint.endswith('regnety_160-a5fe301d.pth')
        backbone = load_config(path, {'model.teacher.backbone.pretrained': False}).model.teacher.backbone
        assert 'init_cfg' not in backbone
        assert 'pretrained' not in backbone

    def test_losses_and_connectors_that_mmrazor_would_ignore_are_left_out(self, capsys):
        folder = mmcls_folder() / 'factor_transfer'
        name = 'factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10'
        pretrain = load_config(folder / f'{name}_pretrain.py').model.distiller
        assert list(pretrain.connectors) == ['loss_s4_tfeat']
        assert 'student_recorders' not in pretrain
        train = load_config(folder / f'{name}_train.py').model.distiller
        assert list(train.distill_losses) == ['loss_s4']
        assert sorted(train.connectors) == ['loss_s4_sfeat', 'loss_s4_tfeat']

    def test_byot_compares_each_image_with_itself(self, capsys):
        distiller = load_config(mmcls_folder() / 'byot/byot_resnet18_8xb16_cifar100.py').model.distiller
        for stage in (1, 2, 3):
            assert distiller.loss_forward_mappings[f'loss_fet_{stage}'].t_feature.connector == 'flatten'
            assert 'connector' not in distiller.loss_forward_mappings[f'loss_softl_{stage}'].preds_T


def test_the_given_config_stays_as_it_is():
    config = Config(dict(model=model()))
    before = copy.deepcopy(config._cfg_dict)
    translate(config)
    assert config._cfg_dict == before


def test_types_of_a_config_of_mmrazor():
    config, notes = translated(
        model=model(),
        val_cfg=dict(type='mmrazor.SingleTeacherDistillValLoop'),
        train_dataloader=dict(dataset=dict(_scope_='mmcls', type='ImageNet', pipeline=[dict(type='PackClsInputs')])),
        optim_wrapper=dict(constructor='mmrazor.SeparateOptimWrapperConstructor', optimizer=dict(type='SGD')),
    )
    assert '_scope_' not in config.model
    assert config.model.type == 'kd_plugins.SingleTeacherDistill'
    assert config.model.teacher.type == 'mmpretrain.ImageClassifier'
    assert config.model.teacher.backbone.type == 'mmrazor.WideResNet'
    assert config.model.teacher.neck.type == 'theirs.Neck'
    distiller = config.model.distiller
    assert distiller.type == 'kd_plugins.ConfigurableDistiller'
    assert distiller.student_recorders.fc.type == 'kd_plugins.ModuleOutputs'
    assert distiller.connectors.conv.norm_cfg.type == 'BN'
    assert config.val_cfg.type == 'kd_plugins.SingleTeacherDistillValLoop'
    assert config.train_dataloader.dataset == dict(type='ImageNet', pipeline=[dict(type='PackInputs')])
    assert config.optim_wrapper.constructor.rpartition('.')[2] == 'SeparateOptimWrapperConstructor'
    assert config.optim_wrapper.optimizer.type == 'SGD'
    assert 'from the installed package mmrazor, for kd_plugins has none of that name: WideResNet' in notes
    assert mmrazor_types(config)[-1] == 'model.teacher.backbone.type'


@pytest.mark.parametrize(
    'changes',
    [
        dict(model=model()),
        dict(model={**model(), '_scope_': 'x', 'type': 'mmrazor.SingleTeacherDistill'}),
        dict(model={**model(), '_scope_': None}, default_scope='mmrazor'),
    ],
)
def test_an_algorithm_of_mmrazors_however_it_is_named(changes):
    config, _ = translated(**changes)
    assert config.model.type == 'kd_plugins.SingleTeacherDistill'
    assert config.get('default_scope') in (None, 'mmpretrain')


@pytest.mark.parametrize('kind', ['kd_plugins.SingleTeacherDistill', 'SingleTeacherDistill', 'mmrazor.Autoformer'])
def test_elsewhere_mmrazor_is_the_package(kind):
    written = model(data_preprocessor=dict(type='ImgDataPreprocessor', bgr_to_rgb=True))
    written.update(_scope_=None, type=kind)
    written['distiller']['distill_losses']['loss_kl']['type'] = 'mmrazor.KLDivergence'
    config, notes = translated(model=written)
    assert config.model.type == kind
    assert config.model.data_preprocessor.type == 'ImgDataPreprocessor'
    assert config.model.distiller.distill_losses.loss_kl.type == 'mmrazor.KLDivergence'
    assert 'record_idx' not in config.model.distiller.loss_forward_mappings.loss_kl.preds_S
    # mmcls is mmpretrain everywhere
    assert config.model.architecture.cfg_path == 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
    assert notes == [
        'mmcls:: -> mmpretrain:: in cfg_path: resnet/resnet18_8xb32_in1k.py',
        'mmcls.X -> mmpretrain.X: ImageClassifier',
    ]


def test_a_native_config_is_left_alone():
    written = dict(
        default_scope='mmpretrain',
        model=dict(type='kd_plugins.SingleTeacherDistill', teacher=dict(_scope_='mmpretrain', type='ImageClassifier')),
        val_dataloader=dict(dataset=dict(type='CIFAR10', test_mode=True)),
    )
    config, notes = translated(**written)
    assert config._cfg_dict == Config(written)._cfg_dict
    assert notes == []


def test_the_first_of_several_calls_is_taken():
    mapping = translated(model=model())[0].model.distiller.loss_forward_mappings.loss_kl
    assert mapping.preds_S.record_idx == 0
    assert mapping.preds_T.record_idx == 2


@pytest.mark.parametrize(('written', 'becomes'), [('mean', 'sum'), ('none', 'sum'), ('batchmean', 'batchmean')])
def test_reductions_that_mmrazor_makes_a_sum(written, becomes):
    config = model()
    config['distiller']['distill_losses']['loss_kl'] = dict(type='DKDLoss', reduction=written)
    assert translated(model=config)[0].model.distiller.distill_losses.loss_kl.reduction == becomes


def test_unused_recorders_are_left_out_and_told():
    written = model()
    written['distiller']['teacher_recorders']['more'] = dict(type='ModuleOutputs', source='neck')
    written['distiller']['distill_losses']['loss_more'] = dict(type='L2Loss')
    config, notes = translated(model=written)
    assert list(config.model.distiller.teacher_recorders) == ['fc']
    assert list(config.model.distiller.distill_losses) == ['loss_kl']
    assert 'left out, for no loss uses them: model.distiller.teacher_recorders.more' in notes
    told = 'left out, for loss_forward_mappings does not feed them: model.distiller.distill_losses.loss_more'
    assert told in notes


@pytest.mark.parametrize('mappings', [None, {}, 'wrong'])
def test_without_mappings_nothing_is_left_out(mappings):
    written = model()
    written['distiller']['loss_forward_mappings'] = mappings
    assert list(translated(model=written)[0].model.distiller.distill_losses) == ['loss_kl']


@pytest.mark.parametrize('distiller', [None, 'wrong', dict(), dict(loss_forward_mappings=dict(a=dict(b=1), c=2))])
def test_a_broken_distiller_is_left_to_those_who_explain_it(distiller):
    written = {**model(), 'distiller': distiller}
    assert translated(model=written)[0].model.distiller == distiller


@pytest.mark.parametrize(
    ('written', 'turned'), [({}, False), (dict(bgr_to_rgb=True), True), (dict(rgb_to_bgr=True), True)]
)
def test_preprocessing_gives_the_same_images(written, turned):
    from mmengine.model import ImgDataPreprocessor

    options = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], pad_size_divisor=8, pad_value=7)
    node = dict(type='ImgDataPreprocessor', **options, **written)
    config = translated(model=model(data_preprocessor=node))[0].model.data_preprocessor
    assert config.pop('type') == 'mmpretrain.ClsDataPreprocessor'
    assert config.to_rgb is turned
    images = torch.randint(0, 256, (2, 3, 5, 6), dtype=torch.uint8)
    ours = ClsDataPreprocessor(**config)(dict(inputs=images), True)['inputs']
    assert torch.equal(ours, ImgDataPreprocessor(**options, **written)(dict(inputs=images))['inputs'])


def test_preprocessing_of_other_libraries_is_theirs():
    node = dict(type='ImgDataPreprocessor', bgr_to_rgb=True)
    config, _ = translated(model=model(data_preprocessor=node), default_scope='mmdet')
    assert config.model.data_preprocessor == node


def test_a_scope_of_another_library_stays():
    config, _ = translated(model={**model(), 'teacher': dict(_scope_='mmdet', type='RetinaNet', neck=dict(type='FPN'))})
    assert config.model.teacher == dict(_scope_='mmdet', type='RetinaNet', neck=dict(type='FPN'))


def test_a_config_of_mmrazors_own_that_is_not_there():
    pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
    written = {**model(), 'teacher': dict(cfg_path='mmrazor::vanilla/mmcls/nowhere.py')}
    with pytest.raises(UserError) as error:
        translated(model=written)
    (fault,) = error.value.faults
    assert fault.where == 'model.teacher.cfg_path'
    assert 'nowhere' in fault.got


def test_keys_beside_a_cfg_path_of_mmrazors_are_merged():
    pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
    path = 'mmrazor::vanilla/mmcls/wide-resnet/wrn16-w2_b16x8_cifar10.py'
    written = {**model(), 'teacher': dict(cfg_path=path, backbone=dict(depth=40), head=dict(num_classes=7))}
    teacher = translated(model=written)[0].model.teacher
    assert teacher.type == 'ImageClassifier'
    assert teacher.backbone.depth == 40
    assert teacher.backbone.widen_factor == 2
    assert teacher.head.num_classes == 7


def test_mmrazor_lists_no_weights_of_its_models():
    path = 'mmrazor::vanilla/mmcls/wide-resnet/wrn28-w4_b16x8_cifar10.py'
    written = {**model(), 'teacher': dict(cfg_path=path, pretrained=True)}
    with pytest.raises(UserError, match=r'^model\.teacher\.pretrained: .*pretrained=False'):
        translated(model=written)


def test_mmpretrains_data_sets_still_need_the_split():
    """When this fails, mmpretrain looks at test_mode again, and the translation need not."""
    kind = DATASETS.get('mmpretrain.CIFAR10')
    assert kind('nowhere', test_mode=True, lazy_init=True).split == 'train'


@pytest.mark.parametrize('value', [None, True, 3, 0.5, '', [], ['L2Loss'], {}, {'type': 'L2Loss'}])
def test_a_value_of_another_type_is_left_to_the_check_of_the_config(value):
    """Whatever stands where the translation looks for a name or a dict, it translates the rest."""
    record = dict(recorder='fc', from_student=True, connector='c')
    good = dict(
        type='mmrazor.SingleTeacherDistill',
        data_preprocessor=dict(type='mmrazor.ImgDataPreprocessor'),
        architecture=dict(type='mmcls.TIMMBackbone', model_name='regnety_160', cfg_path='mmcls::x.py'),
        distiller=dict(
            type='mmrazor.BYOTDistiller',
            student_recorders=dict(fc=dict(type='mmrazor.ModuleOutputs', source='neck.gap')),
            teacher_recorders=dict(fc=dict(type='mmrazor.ModuleOutputs', source='neck.gap')),
            connectors=dict(c=dict(type='mmrazor.BYOTConnector')),
            distill_losses=dict(loss=dict(type='mmrazor.DKDLoss', reduction='mean')),
            loss_forward_mappings=dict(loss=dict(s_feature=record, t_feature=dict(recorder='fc', from_student=False))),
        ),
    )
    paths = list(key_paths(good))
    assert len(paths) > 30
    for path in paths:
        config = Config(dict(model=good, optim_wrapper=dict(constructor='X')))
        node = config.model
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        translate(config)


def key_paths(node, path=()):
    for key, child in node.items() if isinstance(node, dict) else ():
        yield (*path, key)
        yield from key_paths(child, (*path, key))
