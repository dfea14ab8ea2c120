"""A user's own parts that were written against MMRazor's base classes: each runs, or is told which of ours to use."""

import importlib
import sys

import pytest
import torch
from mmengine.config import Config

from kd_plugins.compat import bridge
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import train
from kd_plugins.errors import UserError
from kd_plugins.preflight import inspect_training

pytestmark = pytest.mark.skipif(not bridge._is_there('mmrazor'), reason='pip install kd_plugins[parity]')

PARTS = {
    # what MMRazor's documents tell a user to write, and nothing of ours
    'theirs': """
        import torch
        from mmrazor.models.algorithms import SingleTeacherDistill
        from mmrazor.models.architectures.connectors.base_connector import BaseConnector
        from mmrazor.models.distillers import ConfigurableDistiller
        from mmrazor.models.distillers.base_distiller import BaseDistiller
        from mmrazor.models.task_modules.delivery.distill_delivery import DistillDelivery
        from mmrazor.models.task_modules.delivery import FunctionOutputsDelivery
        from mmrazor.models.task_modules.recorder import ModuleOutputsRecorder
        from mmrazor.models.task_modules.recorder.base_recorder import BaseRecorder
        from mmrazor.registry import MODELS, TASK_UTILS
        from torch import nn

        @MODELS.register_module()
        class TheirDistance(nn.Module):
            def forward(self, preds_S, preds_T):
                return (preds_S - preds_T).square().mean()

        @MODELS.register_module()
        class TheirConnector(BaseConnector):
            def __init__(self, width, init_cfg=None):
                super().__init__(init_cfg)
                self.linear = nn.Linear(width, width)

            def forward_train(self, feature):
                return self.linear(feature)

        @TASK_UTILS.register_module()
        class TheirHalfRecorder(ModuleOutputsRecorder):
            def forward_hook(self, module, inputs, outputs):
                if self.recording:
                    self.data_buffer.append(outputs * 0.5)

        @TASK_UTILS.register_module()
        class TheirBareRecorder(BaseRecorder):
            def prepare_from_model(self, model=None):
                pass

        @TASK_UTILS.register_module()
        class TheirNoiseDelivery(FunctionOutputsDelivery):
            pass

        @TASK_UTILS.register_module()
        class TheirBareDelivery(DistillDelivery):
            def deliver_wrapper(self, origin):
                return origin

            def __enter__(self):
                pass

            def __exit__(self, *_):
                pass

        @MODELS.register_module()
        class TheirDistiller(ConfigurableDistiller):
            def compute_distill_losses(self):
                return {name: loss * 2 for name, loss in super().compute_distill_losses().items()}

        @MODELS.register_module()
        class TheirBareDistiller(BaseDistiller):
            def compute_distill_losses(self):
                return {}

        @MODELS.register_module()
        class TheirDistill(SingleTeacherDistill):
            def loss(self, batch_inputs, data_samples=None):
                return super().loss(batch_inputs, data_samples)
    """,
    # the same with the base classes that the messages name, in the registries where they were
    'rebased': """
        from kd_plugins.algorithms import SingleTeacherDistill
        from kd_plugins.deliveries import FunctionOutputsDelivery
        from kd_plugins.distiller import ConfigurableDistiller
        from kd_plugins.recorders import ModuleOutputs
        from mmrazor.registry import MODELS, TASK_UTILS

        @TASK_UTILS.register_module()
        class OurHalfRecorder(ModuleOutputs):
            def _record(self, module, inputs, output):
                if self.recording:
                    self._keep(output * 0.5)

        @TASK_UTILS.register_module()
        class OurNoiseDelivery(FunctionOutputsDelivery):
            pass

        @MODELS.register_module()
        class OurDistiller(ConfigurableDistiller):
            def compute_distill_losses(self, cached=None):
                return {name: loss * 2 for name, loss in super().compute_distill_losses(cached).items()}

        @MODELS.register_module()
        class OurDistill(SingleTeacherDistill):
            def loss(self, inputs, data_samples=None):
                return super().loss(inputs, data_samples)
    """,
    'missing_name': 'import os\nfrom torch import no_such_name\n',
    'around': 'from their_parts import missing_name\n',
    'syntax': 'VALUE = 1\ndef broken(:\n    pass\n',
    'name': 'VALUE = undefined_thing\n',
    'package': 'import os\n\nimport no_such_package.part\n',
    'twice': """
        from mmrazor.registry import MODELS

        @MODELS.register_module()
        class TheirDistance:
            pass
    """,
}
FC = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
DRAW = 'their_parts.noise.draw'


@pytest.fixture(scope='module', autouse=True)
def _package(tmp_path_factory):
    """A package on the path, as the folder of a user's project is; MMRazor's registries are as before afterwards."""
    folder = tmp_path_factory.mktemp('project') / 'their_parts'
    folder.mkdir()
    (folder / '__init__.py').write_text('')
    (folder / 'noise.py').write_text('def draw():\n    return 1.0\n')
    for name, text in PARTS.items():
        lines = text.splitlines()
        indented = text.startswith('\n')
        (folder / f'{name}.py').write_text('\n'.join(line[8:] if indented else line for line in lines) + '\n')
    bridge.require_mmrazor('test')
    registries = importlib.import_module('mmrazor.registry')
    before = {name: dict(getattr(registries, name).module_dict) for name in ('MODELS', 'TASK_UTILS')}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder.parent))
        yield folder
    for name, known in before.items():
        for added in set(getattr(registries, name).module_dict) - set(known):
            del getattr(registries, name).module_dict[added]
    for name in [name for name in sys.modules if name.partition('.')[0] == 'their_parts']:
        del sys.modules[name]


def classifier(channels):
    return dict(
        _scope_='mmpretrain',
        type='ImageClassifier',
        backbone=dict(type='kd_plugins.PlainCNN', stages=((channels,),)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=channels, topk=(1,)),
    )


def written(
    folder, native, module, epochs=1, algorithm='SingleTeacherDistill', distiller='ConfigurableDistiller', **parts
):
    """Two iterations of logit KD on the digits, in the scope of MMRazor's own configs or natively."""
    scope = 'kd_plugins.' if native else ''
    loader = dict(
        batch_size=8,
        num_workers=0,
        dataset=dict(type='kd_plugins.Digits', split='train', num_images=16, pipeline=[dict(type='PackInputs')]),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    whole = dict(
        default_scope='mmpretrain',
        custom_imports=dict(imports=[f'their_parts.{module}'], allow_failed_imports=False),
        model=dict(
            type=algorithm if '.' in algorithm else f'{scope}{algorithm}',
            data_preprocessor=dict(type='ImgDataPreprocessor', mean=[80.0] * 3, std=[80.0] * 3),
            architecture=classifier(4),
            teacher=classifier(8),
            distiller=dict(
                type=distiller if '.' in distiller else f'{scope}{distiller}',
                student_recorders=FC,
                teacher_recorders=FC,
                distill_losses=dict(loss_kl=dict(type='KLDivergence', tau=4)),
                loss_forward_mappings=dict(
                    loss_kl=dict(
                        preds_S=dict(recorder='fc', from_student=True), preds_T=dict(recorder='fc', from_student=False)
                    )
                ),
            ),
        ),
        train_dataloader=loader,
        val_dataloader={**loader, 'dataset': {**loader['dataset'], 'split': 'test'}},
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(type='kd_plugins.SingleTeacherDistillValLoop'),
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=0),
        log_level='ERROR',
    )
    if not native:
        whole['model']['_scope_'] = 'mmrazor'
    whole['model']['distiller'].update(parts)
    Config(whole).dump(folder / 'config.py')
    return folder / 'config.py'


def load(path):
    config = load_config(path)
    config.work_dir, config.launcher = str(path.parent / 'run'), 'none'
    return config


def losses_of(runner):
    return float(runner.message_hub.get_scalar('train/distill.loss_kl').data[0][0])


def refused(path):
    with pytest.raises(UserError) as caught:
        train(load(path))
    assert not (path.parent / 'run').exists()
    return caught.value.faults


def named(kind, native):
    """As a native config names what is in MMRazor's registry, and as one of MMRazor's does."""
    return f'mmrazor.{kind}' if native else kind


scopes = pytest.mark.parametrize('native', [True, False], ids=['native', 'mmrazor'])


@scopes
def test_losses_and_connectors_run(native, tmp_path):
    mapping = dict(
        preds_S=dict(recorder='fc', from_student=True, connector='same'),
        preds_T=dict(recorder='fc', from_student=False),
    )
    path = written(
        tmp_path,
        native,
        'theirs',
        connectors=dict(same=dict(type=named('TheirConnector', native), width=10)),
        distill_losses=dict(loss_kl=dict(type=named('TheirDistance', native))),
        loss_forward_mappings=dict(loss_kl=mapping),
    )
    runner = train(load(path))
    assert losses_of(runner) > 0
    assert 'distiller.connectors.same.linear.weight' in runner.model.state_dict()


def changes_of(kind, native):
    """The keys of a distiller that name a recorder or a delivery, whose type may leave out what it is."""
    if kind.endswith('Delivery'):
        short = kind if native else kind.removesuffix('Delivery')
        arguments = {} if 'Bare' in kind else dict(func_path=DRAW)
        return dict(distill_deliveries=dict(noise=dict(type=named(short, native), max_keep_data=1, **arguments)))
    short = kind if native else kind.removesuffix('Recorder')
    return dict(student_recorders=dict(fc=dict(type=named(short, native), source='head.fc')))


@scopes
@pytest.mark.parametrize(
    ('kind', 'where', 'base'),
    [
        ('TheirHalfRecorder', 'student_recorders.fc.type', 'kd_plugins.recorders.ModuleOutputs'),
        ('TheirBareRecorder', 'student_recorders.fc.type', 'kd_plugins.recorders.Recorder'),
        ('TheirNoiseDelivery', 'distill_deliveries.noise.type', 'kd_plugins.deliveries.FunctionOutputsDelivery'),
        ('TheirBareDelivery', 'distill_deliveries.noise.type', 'kd_plugins.deliveries.Delivery'),
    ],
)
def test_recorders_and_deliveries_are_told_their_base(kind, where, base, native, tmp_path):
    (fault,) = refused(written(tmp_path, native, 'theirs', **changes_of(kind, native)))
    assert fault.where == f'model.distiller.{where}'
    assert kind in fault.got
    assert f'derive it from {base} ' in fault.advice
    module, _, name = base.rpartition('.')
    assert hasattr(importlib.import_module(module), name)


@scopes
@pytest.mark.parametrize('kind', ['TheirDistiller', 'TheirBareDistiller'])
def test_distillers_are_told_their_base(kind, native, tmp_path):
    (fault,) = refused(written(tmp_path, native, 'theirs', distiller=named(kind, native)))
    assert fault.where == 'model.distiller.type'
    assert 'derive it from kd_plugins.distiller.ConfigurableDistiller ' in fault.advice


@scopes
def test_recorders_of_mmrazors_own_are_ours_by_another_name(native, tmp_path):
    if not native:
        pytest.skip('translated')
    recorder = dict(fc=dict(type='mmrazor.ModuleOutputsRecorder', source='head.fc'))
    (fault,) = refused(written(tmp_path, native, 'theirs', student_recorders=recorder))
    assert fault.advice == 'use kd_plugins.recorders.ModuleOutputs'


def test_an_algorithm_runs_in_mmrazors_code_with_parts_of_its_kind(tmp_path):
    path = written(
        tmp_path,
        False,
        'theirs',
        algorithm='TheirDistill',
        distiller='TheirDistiller',
        distill_deliveries=dict(noise=dict(type='FunctionOutputs', func_path=DRAW, max_keep_data=1)),
        teacher_recorders=dict(fc=dict(type='TheirHalf', source='head.fc')),
    )
    findings = inspect_training(load(path))
    assert findings.faults == []
    warnings = [fault for fault in findings.warnings if fault.where == 'model.type']
    assert len(warnings) == 1
    assert 'kd_plugins.algorithms.SingleTeacherDistill' in warnings[0].advice
    runner = train(load(path))
    assert losses_of(runner) > 0
    assert runner.message_hub.get_scalar('val/teacher.accuracy/top1').current() >= 0
    assert 'teacher.head.fc.weight' in runner.model.state_dict()


def test_mmrazor_itself_takes_no_delivery_of_a_user(tmp_path):
    delivery = dict(noise=dict(type='TheirNoise', func_path=DRAW, max_keep_data=1))
    path = written(tmp_path, False, 'theirs', algorithm='TheirDistill', distill_deliveries=delivery)
    (fault,) = refused(path)
    assert fault.where == 'model.distiller'
    assert 'assert delivery_type_ in SUPPORT_DELIVERIES' in fault.got


def test_an_algorithm_of_mmrazors_resumes_exactly(tmp_path):
    results = []
    for name, stops in (('whole', [2]), ('resumed', [1, 2])):
        (tmp_path / name).mkdir()
        for epochs in stops:
            config = load(written(tmp_path / name, False, 'theirs', epochs=epochs, algorithm='TheirDistill'))
            config.resume = 'auto' if epochs > 1 and len(stops) > 1 else False
            runner = train(config)
        results.append(runner.model.state_dict())
    assert all(torch.equal(weight, results[1][name]) for name, weight in results[0].items())


def test_an_algorithm_of_mmrazors_does_not_take_our_distiller(tmp_path):
    (fault,) = refused(written(tmp_path, True, 'theirs', algorithm='mmrazor.TheirDistill'))
    assert fault.where == 'model.distiller.type'
    assert 'derive TheirDistill from kd_plugins.algorithms.SingleTeacherDistill' in fault.advice


@scopes
def test_with_our_bases_all_of_them_run(native, tmp_path):
    plain = losses_of(train(load(written(tmp_path, native, 'rebased'))))
    recorders = {
        side: dict(fc=dict(type=named('OurHalf', native), source='head.fc'))
        for side in ('student_recorders', 'teacher_recorders')
    }
    (tmp_path / 'own').mkdir()
    path = written(
        tmp_path / 'own',
        native,
        'rebased',
        algorithm=named('OurDistill', native),
        distiller=named('OurDistiller', native),
        distill_deliveries=dict(noise=dict(type=named('OurNoise', native), func_path=DRAW, max_keep_data=1)),
        **recorders,
    )
    runner = train(load(path))
    assert type(runner.model).__name__ == 'OurDistill'
    # logits halved, losses doubled: for a KL of small logits nearly a quarter, times two
    assert losses_of(runner) == pytest.approx(plain / 2, rel=0.05)


@pytest.mark.parametrize(
    ('module', 'said', 'place', 'to_do'),
    [
        (
            'missing_name',
            "ImportError: cannot import name 'no_such_name'",
            'missing_name.py, line 2',
            'correct the module',
        ),
        ('around', "ImportError: cannot import name 'no_such_name'", 'missing_name.py, line 2', 'correct the module'),
        ('syntax', 'SyntaxError: ', 'syntax.py, line 2', 'correct the module'),
        ('name', "NameError: name 'undefined_thing' is not defined", 'name.py, line 1', 'correct the module'),
        ('package', "No module named 'no_such_package'", 'package.py, line 3', 'install no_such_package'),
        ('twice', 'KeyError: ', 'twice.py, line 4', 'correct the module'),
        ('nowhere', "no module named 'their_parts.nowhere'", '', 'PYTHONPATH='),
    ],
)
def test_what_a_users_module_raises_is_shown_with_file_and_line(module, said, place, to_do, tmp_path):
    importlib.import_module('their_parts.theirs')
    with pytest.raises(UserError) as caught:
        load_config(written(tmp_path, True, module))
    (fault,) = caught.value.faults
    assert fault.where == 'custom_imports.imports'
    assert f"'their_parts.{module}'" in fault.got
    assert said in fault.got
    assert to_do in fault.advice
    assert place in fault.advice


def test_failed_imports_that_are_allowed_are_a_warning(tmp_path):
    path = written(tmp_path, True, 'missing_name')
    path.write_text(path.read_text().replace('allow_failed_imports=False', 'allow_failed_imports=True'))
    with pytest.warns(UserWarning, match='their_parts.missing_name failed to import'):
        load_config(path)
