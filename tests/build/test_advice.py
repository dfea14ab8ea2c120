"""No advice names what was written, and what it names is there."""

import inspect
import re

import mmpretrain.models
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope

import kd_plugins.registry as ours
from kd_plugins.build import advise_on_type, build_component, explain_failure, is_registered
from kd_plugins.build.failure import _advice
from kd_plugins.build.names import _registries
from kd_plugins.errors import UserError, closest

SCOPES = ('mmpretrain', 'kd_plugins', 'mmengine')


@pytest.fixture(scope='module', autouse=True)
def everything_is_imported():
    for registry in _registries():
        if registry.scope in SCOPES:
            registry.import_from_location()


def roots():
    return {registry.name: registry for registry in _registries() if registry.parent is None and registry.module_dict}


def test_advice_on_every_type_that_another_scope_has():
    assert mmpretrain.models
    checked = 0
    for kind, root in roots().items():
        names = {name for registry in _registries() if registry.name == kind for name in registry.module_dict}
        for scope in SCOPES:
            with root.switch_scope_and_registry(scope) as registry:
                wrong = [
                    written
                    for name in names
                    for written in (name, *(f'{other}.{name}' for other in SCOPES))
                    if registry.scope == scope and not is_registered(registry, written)
                ]
                for name in wrong:
                    advice = advise_on_type(kind, scope, name)
                    suggested = re.findall(r"'([^']+)'", advice)
                    assert name not in suggested, advice
                    assert advice.startswith('it is in scope'), advice
                    assert all(is_registered(registry, other) for other in suggested), advice
                    checked += 1
    assert checked > 1000


def test_the_closest_names_are_other_ones():
    for kind in roots():
        names = {name for registry in _registries() if registry.name == kind for name in registry.module_dict}
        for name in sorted(names)[::10]:
            assert name not in re.findall(r'[^\s\',?]+', closest(name, names))


def test_a_loss_of_the_distillation_where_a_head_has_its_own():
    head = dict(type='LinearClsHead', num_classes=2, in_channels=2, loss=dict(type='KLDivergence'))
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        MMENGINE_MODELS.switch_scope_and_registry('mmpretrain') as registry,
        pytest.raises(KeyError) as caught,
    ):
        registry.build(head)
    (fault,) = explain_failure(caught.value, 'head', head).faults
    assert (fault.where, fault.got) == ('head.loss.type', "'KLDivergence'")
    # mmrazor's registry has one as well, where that was imported
    assert fault.advice.startswith('it is in scope kd_plugins')
    assert "write 'kd_plugins.KLDivergence'" in fault.advice


def test_advice_on_an_argument_names_what_the_class_itself_takes():
    checked = 0
    for registry in _registries():
        for component in registry.module_dict.values() if registry.name == 'model' else ():
            if not inspect.isclass(component) or registry.scope not in SCOPES:
                continue
            own = inspect.signature(component).parameters
            if any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values()):
                continue
            for key in ('init_cfg', 'init_cgf', 'data_preprocessr', 'inchannels'):
                advice = _advice(component, key)
                assert key in own or set(re.findall(r"'([^']+)'", advice)) <= set(own) - {key}, advice
                checked += 1
    assert checked > 100


def kl_div(student, teacher):
    return F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction='batchmean')


@pytest.mark.parametrize(
    ('name', 'theirs', 'shape'),
    [
        ('MSELoss', torch.nn.MSELoss(), (4, 3)),
        ('MSELoss', torch.nn.MSELoss(), (2, 3, 5, 7)),
        ('KLDivLoss', kl_div, (4, 3)),
    ],
)
def test_losses_of_torch(name, theirs, shape):
    """What is advised instead computes the same, with the arguments that the advice has."""
    with pytest.raises(UserError) as caught:
        build_component(ours.MODELS, dict(type=name), 'here')
    (fault,) = caught.value.faults
    assert (fault.where, fault.got) == ('here.type', repr(name))
    kind = re.search(r"type='(\w+)'", fault.advice)[1]
    flags = {key: value == 'True' for key, value in re.findall(r'(\w+)=(True|False)', fault.advice)}
    torch.manual_seed(0)
    student, teacher = torch.randn(shape), torch.randn(shape)
    loss = build_component(ours.MODELS, dict(type=kind, **flags), 'here')
    torch.testing.assert_close(loss(student, teacher), theirs(student, teacher))


def raised(error):
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ('error', 'packages'),
    [
        (ImportError('Please run "pip install wandb" to install wandb'), 'wandb'),
        (ImportError('Please run "pip install -U neptune" to install neptune'), 'neptune'),
        (ImportError('Please run "pip install future tensorboard" to install the dependencies'), 'future tensorboard'),
        (ImportError('class `X` in x.py: run pip install a-b c.d to use it.'), 'a-b c.d'),
        (ImportError('Run pip install lmdb.'), 'lmdb'),
    ],
)
def test_packages_that_are_missing(error, packages):
    (fault,) = explain_failure(raised(error), 'visualizer', dict(type='Visualizer')).faults
    assert fault.where == 'visualizer'
    assert fault.got.startswith(f'no {packages} (')
    assert fault.advice == f'pip install {packages}, or remove this part'


def test_a_module_that_is_missing():
    """Nothing says that a package has the name of its module, nor that it is on an index."""
    error = raised(ModuleNotFoundError("No module named 'petrel_client.client'", name='petrel_client.client'))
    (fault,) = explain_failure(error, 'visualizer', dict(type='Visualizer')).faults
    assert (fault.where, fault.expected) == ('visualizer', 'the packages that Visualizer needs')
    assert fault.got.startswith('no petrel_client (')
    assert fault.advice == 'install the package that has petrel_client, or remove this part'


def test_a_name_that_is_not_in_an_installed_package_is_no_missing_package():
    error = raised(ImportError("cannot import name 'x' from 'y'"))
    (fault,) = explain_failure(error, 'visualizer', dict(type='Visualizer')).faults
    assert 'pip install' not in fault.advice
