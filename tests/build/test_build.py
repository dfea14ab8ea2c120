import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from torch import nn
from toy import ToyClassifier

from kd_plugins.build import (
    argument_faults,
    build_component,
    build_model,
    explain_failure,
    user_scope,
)
from kd_plugins.errors import UserError, drafting
from kd_plugins.losses import L2Loss
from kd_plugins.registry import MODELS

RESNET18 = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'


class TestBuildComponent:
    def test_by_name_and_by_class(self):
        for kind in ('L2Loss', 'kd_plugins.L2Loss', L2Loss):
            loss = build_component(MODELS, dict(type=kind, mult=3), 'here')
            assert type(loss) is L2Loss
            assert loss.mult == 3

    def test_the_config_is_left_as_it_was(self):
        config = dict(type='L2Loss', mult=3)
        build_component(MODELS, config, 'here')
        assert config == dict(type='L2Loss', mult=3)

    def test_users_scope_where_ours_has_none_of_that_name(self):
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            loss = build_component(MODELS, dict(type='LabelSmoothLoss', label_smooth_val=0.1), 'here')
        assert type(loss).__module__.startswith('mmpretrain')

    @pytest.mark.parametrize('config', [3, 'L2Loss', None, {}, dict(mult=2)])
    def test_no_config(self, config):
        with pytest.raises(UserError, match='here: expected a dict with the key type, got '):
            build_component(MODELS, config, 'here')

    def test_an_unknown_name_is_answered_with_the_closest(self):
        with pytest.raises(UserError, match=r"here\.type: expected a registered model, got 'L2Los'; .*'L2Loss'"):
            build_component(MODELS, dict(type='L2Los'), 'here')

    def test_what_a_component_refuses_gets_its_key_path(self):
        with pytest.raises(UserError, match=r'^here\.tau: '):
            build_component(MODELS, dict(type='KLDivergence', tau=-1), 'here')

    def test_what_a_constructor_stumbles_over_is_told(self):
        class Grouped:
            def __init__(self, groups):
                self.size = 8 // groups

        with pytest.raises(UserError, match='here: expected arguments that Grouped takes, got ZeroDivisionError'):
            build_component(MODELS, dict(type=Grouped, groups=0), 'here')

    @pytest.mark.parametrize('kind', [3, None, ['L2Loss']])
    def test_a_type_that_is_none(self, kind):
        with pytest.raises(UserError, match=r'^here\.type: expected the name of a model, or a class'):
            build_component(MODELS, dict(type=kind), 'here')

    def test_while_drafting_unknown_arguments_are_noted_and_left_out(self):
        with drafting():
            loss = build_component(MODELS, dict(type='L2Loss', mult=3, wieght=2), 'here')
        assert loss.mult == 3
        assert [fault.where for fault in loss.faults] == ['wieght']


class TestArgumentFaults:
    def test_all_faults_at_once(self):
        def component(first, second, third=3):
            pass

        unknown, missing = argument_faults(component, dict(frist=1, thrid=3))
        assert [str(fault) for fault in (*unknown.values(), *missing)] == [
            "frist: expected an argument of component, got 'frist'; did you mean 'first'?",
            "thrid: expected an argument of component, got 'thrid'; did you mean 'third'?",
            'expected the argument first of component, got none; add first=…',
            'expected the argument second of component, got none; add second=…',
        ]

    def test_keyword_arguments_take_everything(self):
        assert argument_faults(lambda first, **kwargs: None, dict(first=1, other=2)) == ({}, [])

    def test_positional_rest_is_not_an_argument_that_misses(self):
        assert argument_faults(lambda *args, first=1: None, dict(first=1)) == ({}, [])

    def test_types_of_python_without_a_signature(self):
        assert argument_faults(dict, dict(first=1)) == ({}, [])


class TestBuildModel:
    def test_a_model_is_returned_as_it_is(self):
        model = ToyClassifier()
        assert build_model(model, 'here') == (model, True)  # it has weights to keep
        assert model._is_init

    @pytest.mark.parametrize('kind', [dict, ConfigDict])
    def test_from_a_config(self, kind):
        config = kind(type='ToyClassifier', channels=5)
        model, loaded = build_model(config, 'here')
        assert model.fc.in_features == 5
        assert not loaded
        assert config == dict(type='ToyClassifier', channels=5)

    def test_scope_of_the_config(self):
        backbone = dict(type='ResNet', depth=18)
        model, _ = build_model(dict(type='ImageClassifier', backbone=backbone, _scope_='mmpretrain'), 'here')
        assert type(model).__module__.startswith('mmpretrain')

    def test_from_a_library(self):
        model, loaded = build_model(dict(cfg_path=RESNET18, pretrained=False), 'here')
        assert model.head.fc.out_features == 1000
        assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
        assert not loaded

    def test_further_keys_change_the_librarys_model(self):
        model, _ = build_model(dict(cfg_path=RESNET18, head=dict(num_classes=10)), 'here')
        assert model.head.fc.out_features == 10
        assert len(model.backbone.layer4) == 2

    def test_keys_that_replace_a_part_still_do_so_in_a_second_model(self):
        config = ConfigDict(cfg_path=RESNET18, head=dict(_delete_=True, type='ClsHead'))
        for _ in range(2):
            model, _ = build_model(config, 'here')
            assert type(model.head).__name__ == 'ClsHead'

    def test_data_preprocessor_is_replaced(self):
        config = dict(type='ToyClassifier', data_preprocessor=dict(type='BaseDataPreprocessor'))
        model, _ = build_model(config, 'here', dict(type='ImgDataPreprocessor', mean=[1, 2, 3], std=[1, 1, 1]))
        assert model.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]

    def test_pretrained_weights_of_a_library_are_loaded_and_stay(self, monkeypatch, tmp_path):
        weights = {name: torch.full_like(value, 2) for name, value in ToyClassifier().state_dict().items()}
        torch.save({'state_dict': weights}, tmp_path / 'w.pth')
        monkeypatch.setattr(
            'kd_plugins.build.model.read_library_config',
            lambda path, pretrained: ConfigDict(model=dict(type='ToyClassifier'), model_path=str(tmp_path / 'w.pth')),
        )
        model, loaded = build_model(dict(cfg_path=RESNET18, pretrained=True), 'here')
        assert loaded
        model.init_weights()
        assert (model.conv1.weight == 2).all()

    @pytest.mark.parametrize('config', [nn.Linear(1, 1), dict(type='ResNet', depth=18, _scope_='mmpretrain')])
    def test_a_part_of_a_model_is_refused(self, config):
        with pytest.raises(UserError, match=r'^here: expected a whole mmengine model .* its head and loss'):
            build_model(config, 'here')

    @pytest.mark.parametrize('config', [3, None, 'resnet', [dict(type='ToyClassifier')]])
    def test_no_config(self, config):
        with pytest.raises(UserError, match=r'^here: expected a model, the config of one, or '):
            build_model(config, 'here')

    @pytest.mark.parametrize(('config', 'got'), [({}, 'an empty dict'), (dict(depth=3), 'depth')])
    def test_no_type(self, config, got):
        with pytest.raises(UserError, match=f'^here: expected the key type or cfg_path, got {got}'):
            build_model(config, 'here')

    def test_an_unknown_type_is_answered_with_the_closest(self):
        with pytest.raises(UserError, match=r"^here\.type: .* got 'ToyClasifier'; .*'ToyClassifier'"):
            build_model(dict(type='ToyClasifier'), 'here')

    def test_an_unknown_type_deeper_down_too(self):
        config = dict(type='ImageClassifier', backbone=dict(type='ResNt', depth=18), head=dict(type='ClsHead'))
        with pytest.raises(UserError, match=r"^here\.backbone\.type: .* got 'ResNt'; .*'ResNet'"):
            build_model(config, 'here')

    @pytest.mark.parametrize(
        'cfg_path',
        ['resnet/resnet18_8xb32_in1k.py', 'no_such_package::a.py', 'mmpretrain::resnet/resnet17.py', 3],
    )
    def test_a_bad_cfg_path_is_refused(self, cfg_path):
        with pytest.raises(UserError) as caught:
            build_model(dict(cfg_path=cfg_path), 'here')
        assert caught.value.faults[0].where == 'here.cfg_path'
        assert repr(cfg_path) in str(caught.value)

    def test_weights_that_are_not_asked_for_are_not_looked_up(self, monkeypatch):
        asked = []

        monkeypatch.setattr('kd_plugins.build.library.load', asked.append)
        build_model(dict(cfg_path=RESNET18), 'here')
        assert asked == []


def fault_of(config):
    """What is said of a model that cannot be built."""
    with pytest.raises(UserError) as caught:
        build_model(config, 'model')
    (fault,) = caught.value.faults
    return fault


def classifier(**parts):
    return {
        'type': 'ImageClassifier',
        'backbone': dict(type='ResNet', depth=18),
        'head': dict(type='LinearClsHead', num_classes=10, in_channels=512),
        **parts,
    }


class TestExplainFailure:
    def test_a_fault_of_ours_gets_the_key_path_of_its_part(self):
        fault = fault_of(classifier(backbone=dict(type='kd_plugins.PlainCNN', stages=3)))
        assert fault.where == 'model.backbone.stages'

    def test_a_part_without_a_type(self):
        fault = fault_of(classifier(head=dict(num_classes=10, in_channels=512)))
        assert (fault.where, fault.expected) == ('model.head', 'a dict with the key type')
        assert fault.got.startswith('one with num_classes, in_channels')

    def test_a_type_that_is_none(self):
        fault = fault_of(classifier(head=dict(type=3, in_channels=512)))
        assert (fault.where, fault.got) == ('model.head.type', '3')

    def test_names_come_from_the_right_registry(self):
        config = dict(type='ToyClassifer')
        with pytest.raises(KeyError) as caught:
            MMENGINE_MODELS.build(config)
        explained = explain_failure(caught.value, 'model', config)
        assert str(explained).startswith('model.type: ')
        assert "did you mean 'ToyClassifier'" in str(explained)

    def test_an_unknown_argument_deep_in_a_model(self):
        fault = fault_of(classifier(backbone=dict(type='ResNet', dpeth=18, depth=18)))
        assert fault.where == 'model.backbone.dpeth'
        assert fault.expected == 'an argument of ResNet'
        assert "'depth'" in fault.advice

    def test_a_missing_argument_and_the_misspelt_one_in_its_place(self):
        fault = fault_of(classifier(head=dict(type='LinearClsHead', num_clases=10, in_channels=512)))
        assert fault.where == 'model.head'
        assert fault.got == "none for 'num_classes'"
        assert fault.advice == "is 'num_clases' meant to be 'num_classes'?"

    @pytest.mark.parametrize('depth', ['18', 19, None, [18]])
    def test_a_value_that_a_part_refuses(self, depth):
        fault = fault_of(classifier(backbone=dict(type='ResNet', depth=depth)))
        assert fault.where == 'model.backbone'
        assert fault.expected == 'arguments that ResNet takes'

    def test_parts_of_one_type_are_told_apart(self):
        good, bad = dict(type='ResNet', depth=18), dict(type='ResNet', depth=18, stem=64)
        config = dict(type='ImageClassifier', backbone=bad, neck=good)
        assert fault_of(config).where == 'model.backbone.stem'


class TestUserScope:
    @pytest.mark.parametrize(
        ('scope', 'expected'),
        [('mmdet', 'mmdet'), ('mmpretrain', 'mmpretrain'), ('kd_plugins', 'mmpretrain'), ('mmengine', 'mmpretrain')],
    )
    def test_ours_is_not_the_users(self, scope, expected):
        with DefaultScope.overwrite_default_scope(scope):
            assert user_scope() == expected

    def test_none(self):
        DefaultScope._instance_dict.clear()
        assert user_scope() == 'mmpretrain'


def test_a_library_that_cannot_be_imported(monkeypatch):
    def look_up(*_):
        raise ImportError('`torch>=1.13` is not installed properly')

    monkeypatch.setattr('kd_plugins.build.component._look_up', look_up)
    with pytest.raises(UserError, match='write that scope') as caught:
        build_component(MODELS, dict(type='mmrazor.KLDivergence'), 'losses.kl')
    (fault,) = caught.value.faults
    assert fault.where == 'losses.kl.type'
    assert "'mmrazor.KLDivergence'" in fault.got
