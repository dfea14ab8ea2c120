import copy

import pytest
import torch
from in_order import ToyInOrder
from mmengine.config import ConfigDict
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from toy import ToyClassifier, algorithm_config, count_hooks, distiller_config, logits_only, toy_batch

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.errors import UserError
from kd_plugins.losses import KLDivergence, L2Loss

RESNET18 = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'


def make(**changes):
    return SingleTeacherDistill(**algorithm_config(**changes))


def has_gradient(model):
    return [parameter.grad is not None for parameter in model.parameters()]


def backward(algorithm):
    loss, _ = algorithm.parse_losses(algorithm(**toy_batch(), mode='loss'))
    loss.backward()


class TestLosses:
    def test_names(self):
        losses = make()(**toy_batch(), mode='loss')
        assert list(losses) == ['student.loss', 'distill.loss_feature', 'distill.loss_logits']

    def test_values(self):
        algorithm = make().eval()  # without dropout, the student is the same each time
        batch = toy_batch()
        losses = algorithm(**batch, mode='loss')
        student, teacher = algorithm.student, algorithm.teacher
        assert torch.equal(losses['student.loss'], student(**batch, mode='loss')['loss'])
        expected = KLDivergence(4)(student(batch['inputs']), teacher(batch['inputs']))
        # the teacher's BatchNorm is folded: the same but for rounding
        torch.testing.assert_close(losses['distill.loss_logits'], expected, rtol=1e-5, atol=0)

        def feature(model):
            first = model.bn(model.conv1(batch['inputs'])).relu()
            return model.conv2(first).relu()

        widened = algorithm.distiller.connectors['widen'](feature(student))
        torch.testing.assert_close(
            losses['distill.loss_feature'], L2Loss(2)(widened, feature(teacher)), rtol=1e-5, atol=0
        )

    def test_their_sum_is_trained(self):
        algorithm = make().eval()
        losses = algorithm(**toy_batch(), mode='loss')
        total, log = algorithm.parse_losses(losses)
        assert total.item() == pytest.approx(sum(loss.item() for loss in losses.values()))
        assert set(log) == {'loss', *losses}

    def test_student_and_connectors_learn(self):
        algorithm = make()
        backward(algorithm)
        assert all(has_gradient(algorithm))

    def test_each_model_runs_once_a_step(self):
        algorithm = make()
        algorithm(**toy_batch(), mode='loss')
        # in the first step, both are looked at in both modes before
        assert algorithm.student.calls == {'tensor': 1, 'loss': 2}
        assert algorithm.teacher.calls == {'loss': 1, 'tensor': 2}
        algorithm(**toy_batch(), mode='loss')
        assert algorithm.student.calls == {'tensor': 1, 'loss': 3}
        assert algorithm.teacher.calls == {'loss': 1, 'tensor': 3}

    def test_nothing_outlives_the_step(self):
        algorithm = make()
        algorithm(**toy_batch(), mode='loss')
        distiller = algorithm.distiller
        for recorders in (distiller.student_recorders, distiller.teacher_recorders):
            assert not any(any(calls) for calls in recorders.pop().values())

    def test_a_step_after_one_that_failed(self):
        algorithm = make()
        with pytest.raises(RuntimeError):
            algorithm(torch.randn(2, 5, 8, 8), torch.zeros(2).long(), mode='loss')
        assert len(algorithm(**toy_batch(), mode='loss')) == 3


class TestModes:
    @pytest.mark.parametrize('mode', ['tensor', 'predict'])
    def test_predictions_are_the_students_alone(self, mode):
        algorithm = make().eval()
        result = algorithm(**toy_batch(), mode=mode)
        expected = algorithm.student(**toy_batch(), mode=mode)
        assert torch.equal(result, expected) if mode == 'tensor' else result == expected
        assert not algorithm.teacher.calls

    def test_another_mode_is_refused(self):
        with pytest.raises(ValueError, match="got 'train'"):
            make()(**toy_batch(), mode='train')

    def test_student_is_the_architecture(self):
        algorithm = make()
        assert algorithm.student is algorithm.architecture


class TestDistillationStopped:
    def test_the_teacher_is_not_run(self):
        algorithm = make()
        algorithm(**toy_batch(), mode='loss')
        algorithm.distillation_stopped = True
        algorithm.student.calls.clear()
        algorithm.teacher.calls.clear()
        losses = algorithm(**toy_batch(), mode='loss')
        assert not algorithm.teacher.calls
        assert algorithm.student.calls == {'loss': 1}
        assert losses['student.loss'] > 0
        assert all(loss == 0 for name, loss in losses.items() if name.startswith('distill'))

    def test_every_parameter_still_has_a_gradient_and_connectors_stay(self):
        # DistributedDataParallel would wait for the others
        for teacher_trainable in (False, True):
            algorithm = make(teacher_trainable=teacher_trainable)
            algorithm.distillation_stopped = True
            backward(algorithm)
            assert all(has_gradient(algorithm))
            for parameter in algorithm.distiller.parameters():
                assert not parameter.grad.any()

    def test_without_connectors_there_is_nothing_to_add(self):
        algorithm = make(distiller=logits_only())
        algorithm.distillation_stopped = True
        assert list(algorithm(**toy_batch(), mode='loss')) == ['student.loss']


class TestTrainableTeacher:
    def test_it_is_a_part_of_the_model(self):
        algorithm = make(teacher_trainable=True)
        assert algorithm.teacher is dict(algorithm.named_modules())['teacher']
        assert 'teacher.conv1.weight' in algorithm.state_dict()
        assert copy.deepcopy(algorithm).teacher is not algorithm.teacher

    def test_it_learns_from_its_own_loss(self):
        algorithm = make(teacher_trainable=True)
        losses = algorithm(**toy_batch(), mode='loss')
        assert list(losses) == ['teacher.loss', 'student.loss', 'distill.loss_feature', 'distill.loss_logits']
        backward(algorithm)
        assert all(has_gradient(algorithm.teacher))

    @pytest.mark.parametrize('norm_eval', [True, False])
    def test_teacher_norm_eval(self, norm_eval):
        algorithm = make(teacher_trainable=True, teacher_norm_eval=norm_eval)
        assert algorithm.train() is algorithm
        for module in algorithm.teacher.modules():
            assert module.training == (not (norm_eval and isinstance(module, _BatchNorm)))
        assert algorithm.student.bn.training
        before = algorithm.teacher.bn.running_mean.clone()
        algorithm(**toy_batch(), mode='loss')
        assert torch.equal(before, algorithm.teacher.bn.running_mean) == norm_eval
        algorithm.eval()
        assert not any(module.training for module in algorithm.modules())

    def test_its_checkpoint_survives_initialisation(self, tmp_path):
        teacher = ToyClassifier(6)
        teacher.fc.weight.data.fill_(3)
        torch.save(teacher.state_dict(), tmp_path / 'a.pth')
        config = dict(type='ToyClassifier', channels=6, init_cfg=dict(type='Constant', layer='Linear', val=7))
        algorithm = make(teacher=config, teacher_ckpt=str(tmp_path / 'a.pth'), teacher_trainable=True)
        algorithm.init_weights()
        assert (algorithm.teacher.fc.weight == 3).all()


class TestStudent:
    def test_not_trainable_only_connectors_learn(self):
        algorithm = make(student_trainable=False, calculate_student_loss=False)
        losses = algorithm(**toy_batch(), mode='loss')
        assert list(losses) == ['distill.loss_feature', 'distill.loss_logits']
        assert losses['distill.loss_feature'].requires_grad
        backward(algorithm)
        assert not any(has_gradient(algorithm.student))
        assert all(has_gradient(algorithm.distiller))

    def test_without_its_own_loss_it_learns_from_the_distillation(self):
        algorithm = make(calculate_student_loss=False)
        assert list(algorithm(**toy_batch(), mode='loss')) == ['distill.loss_feature', 'distill.loss_logits']
        backward(algorithm)
        assert all(has_gradient(algorithm.student))

    def test_evaluation_under_no_grad_stays_without_gradient(self):
        with torch.no_grad():
            losses = make()(**toy_batch(), mode='loss')
        assert not any(loss.requires_grad for loss in losses.values())


class TestInplace:
    def test_both_are_made_to_keep_their_inputs(self):
        algorithm = make()
        assert not algorithm.student.relu.inplace
        assert not algorithm.teacher.relu.inplace

    @pytest.mark.parametrize('side', ['student', 'teacher'])
    def test_unless_asked_for(self, side):
        algorithm = make(**{'module_inplace' if side == 'student' else 'teacher_module_inplace': True})
        assert algorithm.student.relu.inplace == (side == 'student')
        assert algorithm.teacher.relu.inplace == (side == 'teacher')

    def test_a_record_before_the_activation_stays_true(self):
        distiller = distiller_config()
        for recorders in ('student_recorders', 'teacher_recorders'):
            distiller[recorders]['feature']['source'] = 'conv2'
        for side in ('s_feature', 't_feature'):
            distiller['loss_forward_mappings']['loss_feature'][side]['record_idx'] = 0
        algorithm = make(distiller=distiller)
        with algorithm.distiller.teacher_recorders:
            algorithm.teacher(torch.randn(2, 3, 8, 8))
        assert algorithm.distiller.teacher_recorders.pop()['feature'][0].min() < 0


class TestBuilding:
    def test_from_model_objects(self):
        student, teacher = ToyClassifier(4), ToyClassifier(6)
        algorithm = make(architecture=student, teacher=teacher)
        assert algorithm.architecture is student
        assert algorithm.teacher is teacher
        assert len(algorithm(**toy_batch(), mode='loss')) == 3

    @pytest.mark.parametrize('kind', [dict, ConfigDict])
    def test_from_dicts_through_mmengines_registry(self, kind):
        config = kind(type='kd_plugins.SingleTeacherDistill', **algorithm_config())
        before = copy.deepcopy(config)
        algorithm = MMENGINE_MODELS.build(config)
        assert type(algorithm) is SingleTeacherDistill
        assert config == before

    def test_from_library_configs(self):
        distiller = dict(
            type='ConfigurableDistiller',
            student_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
            teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
            distill_losses=dict(loss_kl=dict(type='KLDivergence')),
            loss_forward_mappings=dict(
                loss_kl=dict(
                    preds_S=dict(recorder='fc', from_student=True), preds_T=dict(recorder='fc', from_student=False)
                )
            ),
        )
        model = dict(cfg_path=RESNET18, pretrained=False)
        algorithm = make(architecture=model, teacher=model, distiller=distiller)
        assert algorithm.data_preprocessor.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
        assert algorithm.student.head.fc.out_features == 1000

    def test_data_preprocessor_is_the_students_by_default(self):
        preprocessor = dict(type='ImgDataPreprocessor', mean=[1, 2, 3], std=[1, 1, 1])
        algorithm = make(architecture=dict(type='ToyClassifier', data_preprocessor=preprocessor))
        assert algorithm.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]

    def test_data_preprocessor_may_be_given(self):
        preprocessor = dict(type='ImgDataPreprocessor', mean=[1, 2, 3], std=[1, 1, 1])
        for student in (dict(type='ToyClassifier'), ToyClassifier()):
            algorithm = make(architecture=student, data_preprocessor=preprocessor)
            assert algorithm.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ('changes', 'where'),
        [
            (dict(architecture=nn.Linear(1, 1)), 'architecture'),
            (dict(architecture=3), 'architecture'),
            (dict(architecture=dict(type='ToyClasifier')), 'architecture'),
            (dict(teacher=dict(type='ToyClasifier')), 'teacher'),
            (dict(teacher=nn.Linear(1, 1)), 'teacher'),
            (dict(teacher=None), 'teacher'),
            (dict(teacher_ckpt='/no/such/file.pth'), 'teacher_ckpt'),
            (dict(distiller=dict(type='Distiller')), 'distiller.type'),
            (dict(distiller=None), 'distiller'),
            (dict(distiller=dict(type='ConfigurableDistiller', losses={})), 'distiller.losses'),
        ],
    )
    def test_faults_have_their_key_path(self, changes, where):
        with pytest.raises(UserError) as caught:
            make(**changes)
        assert caught.value.faults[0].where.startswith(where)

    def test_a_source_that_is_missing_is_named_from_the_distiller_on(self):
        distiller = distiller_config()
        distiller['student_recorders']['feature']['source'] = 'rellu'
        with pytest.raises(UserError) as caught:
            make(distiller=distiller)
        (fault,) = caught.value.faults
        assert fault.where == 'distiller.student_recorders.feature.source'
        assert "'relu'" in fault.advice


def test_no_hook_is_left_after_detach():
    algorithm = make()
    assert count_hooks(algorithm.student) == count_hooks(algorithm.teacher) == 2
    algorithm.distiller.detach()
    assert count_hooks(algorithm) == count_hooks(algorithm.teacher) == 0


def test_autocast_trains():
    algorithm = make()
    with torch.autocast('cpu', torch.bfloat16):
        losses = algorithm(**toy_batch(), mode='loss')
    assert all(loss.dtype == torch.float32 for name, loss in losses.items() if name.startswith('distill'))
    sum(losses.values()).backward()
    assert all(has_gradient(algorithm))


def test_a_students_checkpoint_loads_into_the_student_alone():
    algorithm = make()
    prefix = 'architecture.'
    state = {
        name.removeprefix(prefix): value for name, value in algorithm.state_dict().items() if name.startswith(prefix)
    }
    student = ToyClassifier()
    student.load_state_dict(state, strict=True)
    assert torch.equal(student.conv1.weight, algorithm.student.conv1.weight)


def test_model_objects_keep_their_weights():
    student, teacher = ToyClassifier(4), ToyClassifier(6)
    for model in (student, teacher):
        torch.nn.init.constant_(model.fc.weight, 7.0)
    algorithm = make(architecture=student, teacher=teacher, teacher_trainable=True)
    algorithm.init_weights()
    assert (student.fc.weight == 7).all()
    assert (teacher.fc.weight == 7).all()


class ToyWithView(ToyClassifier):
    """Flattens its feature map by ``view``, as VGG's classifier does: the channels must not be last in memory."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        feature = self.relu(self.conv1(inputs))
        feature.view(len(feature), -1)
        return super().forward(inputs, data_samples, mode)


@pytest.mark.parametrize('mode', ['loss', 'predict'])
@pytest.mark.parametrize('channels_last', [True, False])
def test_models_that_want_contiguous_feature_maps(mode, channels_last):
    torch.manual_seed(0)
    student, teacher = ToyWithView(channels=4), ToyWithView(channels=6)
    both = dict(architecture=student, teacher=teacher, channels_last=channels_last)
    algorithm = SingleTeacherDistill(**algorithm_config(**both)).eval()
    expected = copy.deepcopy(student.eval())(**toy_batch(), mode=mode) if not channels_last else None
    found = algorithm(**toy_batch(), mode=mode)
    assert not algorithm.channels_last
    assert student.conv1.weight.is_contiguous()
    if expected is not None:
        assert (found['student.loss'] == expected['loss']) if mode == 'loss' else (found == expected)


def test_other_models_have_their_channels_last():
    algorithm = make()
    algorithm(**toy_batch(), mode='loss')
    assert algorithm.channels_last
    assert algorithm.student.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    # the teacher's own weights are left as they are
    assert algorithm.teacher.conv1.weight.is_contiguous()


class TestOperatorsThatReadMemoryInOrder:
    """What runs through them is what runs through them without us."""

    @pytest.fixture
    def plain(self):
        """Such a student, its losses and its gradients."""
        torch.manual_seed(0)
        student = ToyInOrder(channels=4).eval()
        losses = student(**toy_batch(), mode='loss')
        losses['loss'].backward()
        return student, losses['loss'], [weight.grad for weight in student.parameters()]

    def test_of_the_student(self, plain):
        student, loss, gradients = plain
        algorithm = make(architecture=copy.deepcopy(student)).eval()
        found = algorithm(**toy_batch(), mode='loss')['student.loss']
        found.backward()
        assert torch.equal(found, loss)
        assert all(
            torch.equal(weight.grad, gradient)
            for weight, gradient in zip(algorithm.student.parameters(), gradients, strict=True)
        )

    def test_the_gradient_that_the_teachers_layout_makes(self, plain):
        """ABLoss hands back a gradient in the layout of the teacher's record."""
        loss = dict(type='ABLoss', student='bn', teacher='conv1')
        distiller = dict(type='ConfigurableDistiller', distill_losses=dict(loss_ab=loss))
        teacher, gradients = ToyClassifier(channels=4), []
        for layout in (True, False):
            config = dict(teacher=copy.deepcopy(teacher), teacher_forward=dict(channels_last=layout))
            algorithm = make(architecture=copy.deepcopy(plain[0]), distiller=distiller, **config).eval()
            algorithm(**toy_batch(), mode='loss')['distill.loss_ab'].backward()
            gradients.append(algorithm.student.conv1.weight.grad)
        assert torch.equal(*gradients)

    @pytest.mark.parametrize('trainable', [True, False])
    def test_of_the_teacher(self, trainable):
        teacher = ToyInOrder(channels=6).eval()
        expected = teacher(**toy_batch())
        algorithm = make(teacher=teacher, teacher_trainable=trainable).eval()
        with algorithm.distiller.teacher_recorders as recorders:
            algorithm.run_teacher(algorithm.lay_out(*toy_batch().values()), toy_batch()['data_samples'])
        torch.testing.assert_close(recorders.recorders['logits'].pop()[0], expected, rtol=1e-5, atol=1e-6)
        assert algorithm.channels_last == (not trainable)

    def test_of_a_teacher_that_runs_wholly(self):
        teacher = ToyInOrder(channels=6).eval()
        batch = toy_batch()
        sides = dict(student='fc', teacher=dict(type='ModuleOutputGrads', source='fc'))
        distiller = dict(type='ConfigurableDistiller', distill_losses=dict(loss=dict(type='L2Loss', **sides)))
        algorithm = make(teacher=teacher, distiller=distiller).eval()
        logits = teacher(**batch).detach().requires_grad_()
        (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, batch['data_samples']), logits)
        algorithm.run_teacher(algorithm.lay_out(*batch.values()), batch['data_samples'])
        (found,) = [part for records in algorithm.distiller.teacher_recorders.pop().values() for part in records]
        torch.testing.assert_close(found, expected)

    def test_predictions(self, plain):
        student, *_ = plain
        algorithm = make(architecture=copy.deepcopy(student)).eval()
        assert torch.equal(algorithm(**toy_batch()), student(**toy_batch()))
