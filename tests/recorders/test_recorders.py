import pytest
import torch
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from torch import nn
from toy import ToyClassifier, count_hooks

from kd_plugins.build import Declared, build_component
from kd_plugins.errors import UserError, drafting
from kd_plugins.recorders import ModuleInputs, ModuleOutputGrads, ModuleOutputs, Recorder, RecorderSet
from kd_plugins.registry import TASK_UTILS


class Pair(nn.Module):
    """Takes two tensors and returns a dict."""

    def forward(self, a, b, *, scale=1):
        return {'sum': (a + b) * scale}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.relu = nn.ReLU()
        self.pair = Pair()
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.pair(x, x + 1, scale=2)['sum']
        return self.relu(x - 3)


@pytest.fixture
def model():
    return Model()


def attached(recorder, model):
    recorder.attach(model)
    return recorder


def test_outputs(model):
    recorder = attached(ModuleOutputs('first'), model)
    images = torch.randn(2, 3)
    with recorder:
        model(images)
    (record,) = recorder.pop()
    assert torch.equal(record, model.first(images))
    assert record.requires_grad


def test_outputs_of_any_kind(model):
    recorder = attached(ModuleOutputs('pair'), model)
    with recorder:
        model(torch.randn(2, 3))
    assert recorder.pop()[0]['sum'].shape == (2, 4)


def test_inputs_are_a_tuple_a_call(model):
    recorder = attached(ModuleInputs('pair'), model)
    with recorder:
        model(torch.randn(2, 3))
    ((a, b),) = recorder.pop()
    assert torch.equal(a + 1, b)


def test_a_single_input_is_a_tuple_too(model):
    recorder = attached(ModuleInputs('first'), model)
    images = torch.randn(2, 3)
    with recorder:
        model(images)
    assert recorder.pop()[0][0] is images


@pytest.mark.parametrize('recorder', [ModuleOutputs('relu'), ModuleInputs('relu')])
def test_several_calls_in_their_order(model, recorder):
    attached(recorder, model)
    with recorder:
        output = model(torch.randn(2, 3))
    records = recorder.pop()
    assert len(records) == 2
    last = records[1][0] if isinstance(recorder, ModuleInputs) else records[1]
    assert torch.equal(last.relu(), output)


def test_the_model_itself(model):
    outputs, inputs = attached(ModuleOutputs(''), model), attached(ModuleInputs(''), model)
    images = torch.randn(2, 3)
    with outputs, inputs:
        output = model(images)
    assert outputs.pop()[0] is output
    assert inputs.pop()[0][0] is images


def test_a_module_under_two_names_is_found_under_both():
    model = nn.Sequential()
    model.add_module('a', nn.Linear(2, 2))
    model.add_module('b', model.a)
    recorder = attached(ModuleOutputs('b'), model)
    with recorder:
        model(torch.ones(1, 2))
    assert len(recorder.pop()) == 2


def test_a_source_that_is_not_run_leaves_no_record(model):
    recorder = attached(ModuleOutputs('unused'), model)
    with recorder:
        model(torch.randn(2, 3))
    assert recorder.pop() == []


def test_only_what_happens_inside_is_recorded(model):
    recorder = attached(ModuleOutputs('first'), model)
    model(torch.randn(2, 3))
    with recorder:
        inside = model.first(torch.randn(2, 3))
    model(torch.randn(2, 3))
    (record,) = recorder.pop()
    assert record is inside


def test_pop_clears(model):
    recorder = attached(ModuleOutputs('first'), model)
    with recorder:
        model(torch.randn(2, 3))
    assert len(recorder.pop()) == 1
    assert recorder.pop() == []


def test_entering_again_forgets_the_step_before(model):
    recorder = attached(ModuleOutputs('first'), model)
    for _ in range(3):
        with recorder:
            model(torch.randn(2, 3))
    assert len(recorder.pop()) == 1


@pytest.mark.parametrize('kind', [ModuleOutputs, ModuleInputs])
def test_an_exception_inside_leaves_no_records(model, kind):
    def fail(*_):
        assert len(recorder._records) == 1
        raise ZeroDivisionError

    recorder = attached(kind('first'), model)
    model.pair.register_forward_hook(fail)  # runs after the source
    with pytest.raises(ZeroDivisionError), recorder:
        model(torch.randn(2, 3))
    assert recorder.pop() == []
    assert not recorder.recording


def test_detach_leaves_no_hook(model):
    recorders = [attached(kind(source), model) for kind in (ModuleOutputs, ModuleInputs) for source in ('', 'relu')]
    assert count_hooks(model) == 4
    for recorder in recorders:
        recorder.detach()
        recorder.detach()
    assert count_hooks(model) == 0
    with recorders[0]:
        model(torch.randn(2, 3))
    assert recorders[0].pop() == []


def test_attaching_again_moves_the_hook(model):
    other = Model()
    recorder = attached(ModuleOutputs('relu'), model)
    recorder.attach(model)
    assert count_hooks(model) == 1
    recorder.attach(other)
    assert (count_hooks(model), count_hooks(other)) == (0, 1)


def test_hooks_of_others_stay(model):
    model.first.register_forward_hook(lambda *_: None)
    attached(ModuleOutputs('first'), model).detach()
    assert count_hooks(model) == 1


def test_an_unknown_source_names_the_closest(model):
    with pytest.raises(UserError) as caught:
        ModuleOutputs('frist').attach(model)
    assert str(caught.value) == "source: expected a module of Model, got 'frist'; did you mean 'first'?"
    assert count_hooks(model) == 0


def test_an_unknown_source_finds_the_same_ending():
    model = nn.ModuleDict({'backbone': nn.ModuleDict({'layer4': nn.ReLU(), 'layer3': nn.ReLU()})})
    with pytest.raises(UserError, match=r"'backbone\.layer4'"):
        ModuleOutputs('neck.layer4').attach(model)


class Containers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Sequential(nn.ReLU())])
        self.heads = nn.ModuleDict({'a': nn.Linear(2, 1), 'b': nn.ModuleList([nn.Identity()])})
        self.many = nn.ModuleList(nn.Identity() for _ in range(20))
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(1))])
        self.nothing = nn.Module()


@pytest.mark.parametrize('kind', [ModuleOutputs, ModuleInputs, ModuleOutputGrads])
@pytest.mark.parametrize(
    ('source', 'what', 'advice'),
    [
        ('layers', 'ModuleList', 'choose one of layers.0, layers.1'),
        ('heads', 'ModuleDict', 'choose one of heads.a, heads.b.0'),
        ('heads.b', 'ModuleList', 'choose one of heads.b.0'),
        ('many', 'ModuleList', f'choose one of {", ".join(f"many.{index}" for index in range(12))}, …'),
        ('scales', 'ParameterList', 'there is none inside: choose another module'),
        ('nothing', 'Module', 'there is none inside: choose another module'),
    ],
)
def test_a_container_that_never_runs_is_refused(kind, source, what, advice):
    model = Containers()
    with pytest.raises(UserError) as caught:
        kind(source).attach(model)
    (fault,) = caught.value.faults
    assert (fault.where, fault.expected) == ('source', 'a module with a forward of its own')
    assert fault.got == f"'{source}', a {what}, which has none"
    assert fault.advice == advice
    assert count_hooks(model) == 0


def test_a_model_without_a_forward_is_refused_too():
    with pytest.raises(UserError, match=r'choose one of layers\.0, layers\.1, heads\.a'):
        ModuleOutputs('').attach(Containers())


def test_a_forward_that_an_object_was_given_is_one():
    model = nn.Module()
    model.forward = lambda x: x + 1
    recorder = attached(ModuleOutputs(''), model)
    with recorder:
        model(1)
    assert recorder.pop() == [2]


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('ModuleOutputs', ModuleOutputs),
        ('ModuleOutputsRecorder', ModuleOutputs),
        ('ModuleInputs', ModuleInputs),
        ('ModuleInputsRecorder', ModuleInputs),
    ],
)
def test_type_names(name, kind):
    recorder = build_component(TASK_UTILS, dict(type=name, source='fc'), 'here')
    assert type(recorder) is kind
    assert type(MMENGINE_TASK_UTILS.build(dict(type=f'kd_plugins.{name}', source='fc'))) is kind


def test_the_base_class_is_a_contract():
    with pytest.raises(TypeError, match='abstract'):
        Recorder('source')


class TestRecorderSet:
    CONFIG = dict(feature=dict(type='ModuleOutputs', source='relu'), given=dict(type='ModuleInputs', source='fc'))

    @staticmethod
    def make(configs):
        return RecorderSet({name: Declared(config, f'recorders.{name}') for name, config in configs.items()})

    def test_enters_and_pops_together(self):
        model = ToyClassifier()
        recorders = self.make(self.CONFIG)
        recorders.attach(model)
        with recorders:
            model(torch.randn(2, 3, 8, 8))
        records = recorders.pop()
        assert {name: len(calls) for name, calls in records.items()} == {'feature': 2, 'given': 1}
        assert recorders.pop() == {'feature': [], 'given': []}

    def test_an_exception_inside_leaves_no_records(self):
        model = ToyClassifier()
        recorders = self.make(self.CONFIG)
        recorders.attach(model)
        with pytest.raises(RuntimeError), recorders:
            model(torch.randn(2, 5, 8, 8))
        assert recorders.pop() == {'feature': [], 'given': []}
        assert not any(recorder.recording for recorder in recorders.recorders.values())

    def test_what_is_overwritten_is_told_by_call(self):
        model = ToyClassifier()
        model.relu.inplace = False
        recorders = self.make(dict(self.CONFIG, again=dict(type='ModuleOutputs', source='relu')))
        recorders.attach(model)
        with torch.no_grad(), recorders.watching() as overwritten, recorders.guarding() as is_overwritten:
            for _ in range(2):  # the last run counts
                with recorders:
                    model(torch.randn(2, 3, 8, 8))
            assert not is_overwritten()
            recorders.recorders['feature']._records[1].add_(1)
            assert is_overwritten()
        assert overwritten() == {'feature': [False, True], 'given': [False], 'again': [False, True]}

    def test_detach_leaves_no_hook(self):
        model = ToyClassifier()
        recorders = self.make(self.CONFIG)
        recorders.attach(model)
        assert count_hooks(model) == 2
        recorders.detach()
        assert count_hooks(model) == 0

    def test_all_unknown_sources_are_named_and_nothing_stays_attached(self):
        model = ToyClassifier()
        config = dict(self.CONFIG, a=dict(type='ModuleOutputs', source='cnv1'), b=dict(type='ModuleInputs', source='x'))
        with pytest.raises(UserError) as caught:
            self.make(config).attach(model)
        assert [fault.where for fault in caught.value.faults] == [
            'recorders.a.source',
            'recorders.b.source',
        ]
        assert "did you mean 'conv1'" in str(caught.value)
        assert count_hooks(model) == 0

    def test_empty_is_no_recorder(self):
        assert RecorderSet({}).pop() == {}

    def test_while_drafting_the_good_ones_work_and_the_faults_are_kept(self):
        model = ToyClassifier()
        config = dict(self.CONFIG, a=dict(type='ModuleOutputs', source='cnv1'), b=dict(type='Outputs', source='fc'))
        with drafting():
            recorders = self.make(config)
            assert [fault.where for fault in recorders.faults] == ['recorders.b.type']
            assert [fault.where for fault in recorders.attach(model)] == ['recorders.a.source']
        with recorders:
            model(torch.randn(2, 3, 8, 8))
        assert {name: len(calls) for name, calls in recorders.pop().items()} == {'feature': 2, 'given': 1}

    def test_a_source_that_was_written_bare_is_its_own_key(self):
        declared = Declared(dict(type='ModuleOutputs', source='cnv1'), 'distill_losses.loss_kl.student', 'source')
        with pytest.raises(UserError) as caught:
            RecorderSet(dict(a=declared)).attach(ToyClassifier())
        assert caught.value.faults[0].where == 'distill_losses.loss_kl.student'

    @pytest.mark.parametrize(
        ('config', 'message'),
        [
            (dict(type='ModuleOutput', source='fc'), "recorders.a.type: expected a registered .*'ModuleOutputs'"),
            (dict(source='fc'), 'recorders.a: expected a dict with the key type'),
            (dict(type='ModuleOutputs', sources='fc'), r"recorders\.a\.sources: .*did you mean 'source'"),
        ],
    )
    def test_a_bad_config_is_refused(self, config, message):
        with pytest.raises(UserError, match=message):
            self.make(dict(a=config))
