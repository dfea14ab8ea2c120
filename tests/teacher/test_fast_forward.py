"""Every fast path of the frozen teacher against the plain one."""

import copy

import pytest
import torch
from mmengine.model import BaseModel, ExponentialMovingAverage
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS as MMPRETRAIN
from mmpretrain.structures import DataSample
from torch import nn
from toy import ToyClassifier, algorithm_config, is_same, snapshot, toy_batch

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.teacher import TeacherForward

PLAIN = dict(fold_bn=False, inplace=False, channels_last=False, stop_early=False, mode='loss')
# what the issue of this work asks of the defaults, in float32
TOLERANCE = 1e-4


def make(settings=None, **changes):
    torch.manual_seed(0)
    algorithm = SingleTeacherDistill(**algorithm_config(teacher_forward=settings, **changes))
    shake(algorithm.teacher)
    return algorithm.eval()


def shake(model):
    """BatchNorms that do something, as those of a trained model."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                with torch.no_grad():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def step(algorithm, batch=None):
    """Losses, and the gradients of all that learns."""
    algorithm.zero_grad()
    losses = algorithm(**(batch or toy_batch()), mode='loss')
    sum(losses.values()).backward()
    return losses, {name: value.grad for name, value in algorithm.named_parameters() if value.grad is not None}


def assert_close(one, other, tolerance=TOLERANCE):
    for first, second in zip(one, other, strict=True):
        assert first.keys() == second.keys()
        for name, value in first.items():
            torch.testing.assert_close(value, second[name], rtol=tolerance, atol=tolerance * float(value.abs().max()))


def is_patched(model):
    return any('forward' in module.__dict__ for module in model.modules())


class TestSwitches:
    """Each alone, and all together, on a model whose activation is called twice."""

    @pytest.mark.parametrize(
        'settings',
        [
            {},
            {**PLAIN, 'fold_bn': True},
            {**PLAIN, 'inplace': True},
            {**PLAIN, 'channels_last': True},
            {**PLAIN, 'stop_early': True},
            {**PLAIN, 'mode': 'auto'},
            {**PLAIN, 'mode': 'tensor'},
            {**PLAIN, 'inference_mode': True},
            dict(inference_mode=True),
            dict(compile=dict(backend='eager')),
        ],
    )
    def test_same_losses_and_gradients_as_plain(self, settings):
        plain, fast = make(PLAIN), make(settings)
        for seed in range(3):
            torch.manual_seed(seed)
            batch = dict(inputs=torch.randn(4, 3, 8, 8), data_samples=torch.tensor([0, 1, 2, 0]))
            assert_close(step(plain, batch), step(fast, batch))

    def test_defaults_fold_and_overwrite(self):
        algorithm = make()
        step(algorithm)
        plan = algorithm.frozen_teacher._fast._plan
        teacher = algorithm.teacher
        assert plan.folds == {teacher.conv1: teacher.bn}
        assert plan.overwriting == (teacher.relu,)

    def test_between_steps_the_model_is_as_it_was_built(self):
        algorithm = make()
        before, batch = snapshot(algorithm.teacher), toy_batch()
        outputs = algorithm.teacher(**batch)
        step(algorithm)
        assert not is_patched(algorithm.teacher)
        assert not algorithm.teacher.relu.inplace
        assert is_same(before, snapshot(algorithm.teacher))
        assert torch.equal(algorithm.teacher(**batch), outputs)

    def test_a_failing_forward_leaves_it_so_too(self):
        algorithm = make()
        step(algorithm)
        with pytest.raises(RuntimeError):
            algorithm.run_teacher(torch.randn(2, 5, 8, 8), torch.tensor([0, 1]))
        assert not is_patched(algorithm.teacher)
        assert all(part.told is None for part in algorithm.distiller.teacher_recorders.parts())
        assert_close(step(make(PLAIN)), step(algorithm))

    def test_random_numbers_of_the_training_stay(self):
        plain, fast = make({**PLAIN, 'fold_bn': True}), make(PLAIN)
        draws = []
        for algorithm in (plain, fast):
            torch.manual_seed(3)
            step(algorithm)
            draws.append(torch.rand(2))
        assert torch.equal(*draws)


class TestWeightsThatChange:
    """What was computed from the weights is computed again."""

    def check(self, change):
        plain, fast = make(PLAIN), make()
        step(fast)
        for algorithm in (plain, fast):
            change(algorithm)
        assert_close(step(plain), step(fast))

    def test_load_state_dict(self):
        other = ToyClassifier(channels=6)
        shake(other)
        self.check(lambda algorithm: algorithm.teacher.load_state_dict(other.state_dict()))

    def test_load_state_dict_by_assignment(self):
        other = ToyClassifier(channels=6)
        self.check(lambda algorithm: algorithm.teacher.load_state_dict(copy.deepcopy(other.state_dict()), assign=True))

    def test_in_place(self):
        def double(algorithm):
            with torch.no_grad():
                algorithm.teacher.bn.running_var.mul_(2)

        self.check(double)

    def test_to_another_dtype_and_back(self):
        plain, fast = make(PLAIN), make()
        step(fast)
        fast.double()
        batch = toy_batch(dtype=torch.float64)
        assert_close(step(plain.double(), batch), step(fast, batch), 1e-9)
        assert_close(step(plain.float()), step(fast.float()))

    def test_train_and_eval(self):
        def flip(algorithm):
            algorithm.train()
            algorithm.teacher.train()
            algorithm.eval()

        self.check(flip)

    def test_a_copy_by_ema_beside_it(self):
        def average(algorithm):
            ExponentialMovingAverage(algorithm).update_parameters(algorithm)

        self.check(average)

    def test_other_recorders(self):
        plain, fast = make(PLAIN), make()
        step(fast)
        for algorithm in (plain, fast):
            algorithm.distiller.detach()
            algorithm.distiller.student_recorders.attach(algorithm.student)
            algorithm.distiller.teacher_recorders.attach(algorithm.teacher)
        assert_close(step(plain), step(fast))


def test_a_trainable_teacher_runs_as_it_is():
    algorithm = make(teacher_trainable=True).train()
    assert algorithm.frozen_teacher is None
    losses, gradients = step(algorithm)
    assert 'teacher.loss' in losses
    assert 'teacher.conv1.weight' in gradients


def distiller(student, teacher, loss='L2Loss'):
    return dict(
        type='ConfigurableDistiller', distill_losses=dict(loss=dict(type=loss, student=student, teacher=teacher))
    )


SAME = dict(architecture=dict(type='ToyClassifier', channels=6))


@pytest.mark.parametrize(
    'source',
    [
        'bn',
        'conv1',
        'fc',
        dict(type='ModuleInputs', source='bn', data_idx=0),
        dict(source='relu', record_idx=0),
        dict(type='ModuleInputs', source='relu', record_idx=1, data_idx=0),
        dict(type='MethodOutputs', source='torch.nn.BatchNorm2d.forward'),
        dict(type='MethodOutputs', source='torch.nn.Conv2d.forward', record_idx=0),
        dict(type='Parameter', source='fc.weight'),
    ],
)
@pytest.mark.parametrize('settings', [{}, dict(inference_mode=True), dict(compile=dict(backend='eager'))])
def test_a_record_is_what_the_config_asked_for(source, settings):
    changes = dict(distiller=distiller(source, source), **SAME)
    plain, fast = make(PLAIN, **changes), make(settings, **changes)
    for _ in range(2):
        assert_close(step(plain), step(fast))


class TestStopping:
    def test_nothing_runs_after_the_last_record(self):
        algorithm = make(distiller=distiller('bn', 'bn'), **SAME)
        ran = []
        for name, module in algorithm.teacher.named_children():
            module.register_forward_hook(lambda module, inputs, output, name=name: ran.append(name))
        step(algorithm)
        ran.clear()
        step(algorithm)
        # the recorder's hook came before this one's
        assert ran == ['conv1']

    def test_a_delivery_gets_the_whole_forward(self):
        linear = dict(type='MethodOutputs', max_keep_data=1, method_path='torch.nn.Linear.forward')
        config = {**distiller('bn', 'bn'), 'distill_deliveries': dict(logits=linear)}
        algorithm = make(distiller=config, **SAME)
        expected = algorithm.teacher(**toy_batch())
        seen = []
        algorithm.student.fc.register_forward_hook(lambda module, inputs, output: seen.append(output))
        step(algorithm)
        # the student was run on its own before, to choose its memory layout
        seen.pop(0)
        step(algorithm)
        # the algorithm's batch has its channels last, which rounds differently
        assert [torch.allclose(output, expected, atol=1e-6) for output in seen] == [True, True]


class ByParts(ToyClassifier):
    """Its head sees some images at a time, and leaves a record for each time."""

    def __init__(self, at_once=1, **kwargs):
        super().__init__(**kwargs)
        self.at_once = at_once

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.calls[mode] += 1
        inputs = inputs if isinstance(inputs, torch.Tensor) else torch.stack(inputs)
        feature = self.bn(self.conv1(inputs)).mean((2, 3))
        logits = torch.cat([self.fc(part) for part in feature.split(self.at_once)])
        self.calls['whole'] += 1
        return dict(loss=logits.sum()) if mode == 'loss' else logits


class TestStoppingByImages:
    """A forward whose records are as many as its images, or that cannot be cut."""

    def records(self, algorithm, inputs, samples):
        with algorithm.distiller.teacher_recorders as recorders:
            algorithm.frozen_teacher.record(recorders, inputs, samples)
        (found,) = recorders.pop().values()
        return len(found)

    @pytest.mark.parametrize(('at_once', 'sizes'), [(1, (4, 4)), (1, (2, 4, 2)), (1, (1, 3)), (4, (8, 8)), (4, (3, 8))])
    def test_every_record_is_there(self, at_once, sizes):
        algorithm = make(teacher=ByParts(at_once, channels=6), distiller=distiller('fc', 'fc'))
        for size in sizes:
            batch = toy_batch(size)
            assert self.records(algorithm, batch['inputs'], batch['data_samples']) == -(-size // at_once)

    @pytest.mark.parametrize('annotated', [True, False])
    def test_a_batch_that_cannot_be_cut(self, annotated):
        algorithm = make(teacher=ByParts(1, channels=6), distiller=distiller('fc', 'fc'))
        for size in (2, 4, 3):
            batch = toy_batch(size)
            samples = batch['data_samples'].tolist() if annotated else None
            assert self.records(algorithm, list(batch['inputs']), samples) == size

    def test_a_batch_of_as_many_images_stops_where_records_do_not_depend_on_them(self):
        algorithm = make(teacher=ByParts(100, channels=6), distiller=distiller('fc', 'fc'))
        whole = []
        for size in (4, 4, 3, 6, 6):
            before = algorithm.teacher.calls['whole']
            assert self.records(algorithm, *toy_batch(size).values()) == 1
            whole.append(algorithm.teacher.calls['whole'] - before)
        # the first one is watched in two modes before, and a larger one than all before runs as a whole once
        assert whole == [3, 0, 0, 1, 0]


class LossOnly(ToyClassifier):
    """A classifier whose head does something else in training than otherwise."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return super().forward(inputs * 2 if mode == 'loss' else inputs, data_samples, mode)


class NoTensorMode(ToyClassifier):
    def forward(self, inputs, data_samples=None, mode='loss'):
        if mode == 'tensor':
            raise NotImplementedError
        return super().forward(inputs, data_samples, mode)


@pytest.mark.parametrize('kind', [LossOnly, NoTensorMode])
def test_the_loss_is_left_out_only_where_the_records_stay_the_same(kind):
    torch.manual_seed(0)
    teacher = kind(channels=6)
    plain, fast = make(PLAIN, teacher=teacher), make(teacher=copy.deepcopy(teacher))
    assert_close(step(plain), step(fast))
    fast.teacher.calls.clear()
    step(fast)
    assert fast.teacher.calls == {'loss': 1}


class NoLoss(ToyClassifier):
    """A teacher whose loss the data do not serve, as that of masks where there are boxes only."""

    def forward(self, inputs, data_samples=None, mode='loss'):
        outputs = super().forward(inputs, data_samples, 'tensor')
        if mode == 'loss':
            self.calls[mode] += 1
            raise AttributeError('masks')
        return outputs


class NoTensor(ToyClassifier):
    """Its other mode fails when it has left records already."""

    def forward(self, inputs, data_samples=None, mode='loss'):
        outputs = super().forward(inputs, data_samples, mode)
        if mode == 'tensor':
            raise NotImplementedError
        return outputs


class TestModesThatFail:
    def test_a_loss_that_nothing_needs(self):
        torch.manual_seed(0)
        teacher = NoLoss(channels=6)
        plain, fast = make({**PLAIN, 'mode': 'tensor'}, teacher=copy.deepcopy(teacher)), make(teacher=teacher)
        for _ in range(2):
            assert_close(step(plain), step(fast))
        assert teacher.calls['loss'] == 1
        assert fast.frozen_teacher._fast._plan.folds

    def test_a_loss_that_is_asked_for(self):
        with pytest.raises(AttributeError, match='masks'):
            step(make(dict(mode='loss'), teacher=NoLoss(channels=6)))

    def test_a_loss_without_which_a_record_is_not_there(self):
        algorithm = make(teacher=WithoutLogits(channels=6))
        for _ in range(2):
            with pytest.raises(AttributeError, match='masks'):
                step(algorithm)

    def test_a_mode_that_fails_leaves_no_records(self):
        torch.manual_seed(0)
        teacher = NoTensor(channels=6)
        plain, fast = make(PLAIN, teacher=copy.deepcopy(teacher)), make(teacher=teacher)
        assert_close(step(plain), step(fast))

    def test_a_loss_that_fails_for_the_layout_of_its_feature_map(self):
        """Its records are not those of the other mode: it is not left out for what contiguous tensors mend."""
        torch.manual_seed(0)
        teacher = ViewingLossOnly(channels=6)
        plain, fast = make(PLAIN, teacher=copy.deepcopy(teacher)), make(teacher=teacher)
        assert_close(step(plain), step(fast))
        assert not fast.frozen_teacher._fast.channels_last


class WithoutLogits(NoLoss):
    """Whose other mode does not get as far as its logits."""

    def forward(self, inputs, data_samples=None, mode='loss'):
        return self.conv2(self.conv1(inputs)) if mode == 'tensor' else super().forward(inputs, data_samples, mode)


class ViewingLossOnly(LossOnly):
    """Flattens its feature map by ``view`` on the way to its loss."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            self.conv1(inputs).view(len(inputs), -1)
        return super().forward(inputs, data_samples, mode)


class TestAutocast:
    def test_of_the_teacher_alone(self):
        plain, fast = make(PLAIN), make(dict(dtype='bf16'))
        # bfloat16 has 8 bits of mantissa
        assert_close(step(plain), step(fast), 0.05)
        with fast.distiller.teacher_recorders as recorders:
            fast.frozen_teacher.record(recorders, **toy_batch())
        assert {record.dtype for records in recorders.pop().values() for record in records} == {torch.float32}

    def test_of_the_training(self):
        plain, fast = make(PLAIN), make()
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert_close(step(plain), step(fast), 0.05)

    def test_not_of_the_training(self):
        plain, fast = make(PLAIN), make(dict(dtype='fp32'))
        with torch.autocast('cpu', dtype=torch.bfloat16), fast.distiller.teacher_recorders as recorders:
            fast.frozen_teacher.record(recorders, **toy_batch())
        found = recorders.pop()
        with plain.distiller.teacher_recorders as recorders:
            plain.frozen_teacher.record(recorders, **toy_batch())
        torch.testing.assert_close(found['logits'], recorders.pop()['logits'], rtol=1e-5, atol=1e-6)


class PartlyWide(ToyClassifier):
    """Its first layers and its last one compute in float32 whatever autocast says, and one in float64."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.wide = nn.Linear(6, 6)
        self.wider = nn.Linear(6, 6).double()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        with torch.autocast('cpu', enabled=False):
            feature = self.wide(self.bn(self.conv1(inputs.float())).mean((2, 3)))
        feature = self.wider(feature.double())
        with torch.autocast('cpu', enabled=False):
            logits = self.fc(feature.float())
        return dict(loss=logits.sum()) if mode == 'loss' else logits


@pytest.mark.parametrize('settings', [{}, dict(dtype='bf16'), dict(compile=dict(backend='eager', fullgraph=True))])
@pytest.mark.parametrize('stop_early', [True, False])
def test_a_part_without_autocast_keeps_its_precision(settings, stop_early):
    torch.manual_seed(0)
    teacher = PartlyWide(channels=6)
    records = {}
    for name, switches in (('plain', PLAIN), ('fast', {**settings, 'stop_early': stop_early})):
        algorithm = make(switches, teacher=copy.deepcopy(teacher), distiller=distiller('fc', 'fc'))
        for _ in range(2):
            with torch.autocast('cpu', dtype=torch.bfloat16), algorithm.distiller.teacher_recorders as recorders:
                algorithm.frozen_teacher.record(recorders, **toy_batch())
            (records[name],) = next(iter(recorders.pop().values()))
    assert records['fast'].dtype == torch.float32
    # bfloat16 would be 100 times as far off
    torch.testing.assert_close(records['fast'], records['plain'], rtol=1e-5, atol=1e-5)


BACKBONES = {
    'resnet': (dict(type='ResNet', depth=50), 2048, 'backbone.layer3'),
    'densenet': (dict(type='DenseNet', arch='121'), 1024, 'backbone.transitions.1'),
    'mobilenet_v2': (dict(type='MobileNetV2'), 1280, 'backbone.layer5'),
    'shufflenet_v2': (dict(type='ShuffleNetV2'), 1024, 'backbone.layers.1'),
    'vgg_bn': (dict(type='VGG', depth=11, norm_cfg=dict(type='BN')), 512, 'backbone.features.8'),
    'regnet': (dict(type='RegNet', arch='regnetx_400mf'), 384, 'backbone.layer3'),
}


def classifier(backbone, channels) -> BaseModel:
    head = dict(type='LinearClsHead', num_classes=5, in_channels=channels)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        config = dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)
        return MMPRETRAIN.build(config)


@pytest.mark.parametrize('name', BACKBONES)
def test_models_of_mmpretrain(name):
    backbone, channels, source = BACKBONES[name]
    torch.manual_seed(0)
    teacher, student = classifier(backbone, channels), classifier(backbone, channels)
    shake(teacher)
    with torch.no_grad():
        # logits that differ by more than rounding
        teacher.head.fc.weight.mul_(20)
    config = distiller(source, source)
    config['distill_losses']['loss_kl'] = dict(type='KLDivergence', student='head.fc', teacher='head.fc')
    runs = []
    for settings in (PLAIN, None):
        algorithm = SingleTeacherDistill(
            architecture=copy.deepcopy(student),
            teacher=copy.deepcopy(teacher),
            distiller=config,
            teacher_forward=settings,
        ).eval()
        batch = dict(
            inputs=torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2)),
            data_samples=[DataSample().set_gt_label(label) for label in range(3)],
        )
        step(algorithm, batch)
        runs.append(step(algorithm, batch))
    assert_close(*runs)
    assert algorithm.frozen_teacher._fast._plan.folds


def test_plain_is_the_switches_off():
    off = TeacherForward(fold_bn=False, inplace=False, channels_last=False, stop_early=False, mode='loss')
    assert TeacherForward.read(PLAIN) == off
