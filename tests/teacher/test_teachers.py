import pytest
import torch
from toy import ToyClassifier, toy_batch

from kd_plugins.errors import UserError, drafting
from kd_plugins.teacher import Teachers, are_trained, build_teachers

TOY = dict(type='ToyClassifier')


def test_all_run_on_the_same_batch():
    teachers = Teachers(dict(a=ToyClassifier(), b=ToyClassifier(6))).eval()
    batch = toy_batch()
    results = teachers(**batch)
    assert list(results) == ['a', 'b']
    assert torch.equal(results['b'], teachers.b(batch['inputs']))


def test_each_has_its_own_preprocessing():
    class Halve(torch.nn.Module):
        def forward(self, images):
            return images / 2

    model = ToyClassifier()
    teachers = Teachers(dict(a=model, b=model), preprocessing=dict(b=Halve())).eval()
    images = toy_batch()['inputs']
    assert torch.equal(teachers(images)['b'], model(images / 2))
    assert torch.equal(teachers(images)['a'], model(images))


def test_built_from_configs(tmp_path):
    torch.save({'state_dict': ToyClassifier(6).state_dict()}, tmp_path / 'b.pth')
    config = dict(a=dict(build_cfg=ToyClassifier(), weight=2), b=dict(build_cfg=dict(TOY, channels=6)))
    config['b']['ckpt_path'] = str(tmp_path / 'b.pth')
    teachers = build_teachers(config, None)
    assert teachers.names == ('a', 'b')
    assert teachers.weights == dict(a=2.0, b=1.0)
    assert teachers.a is config['a']['build_cfg']
    saved = torch.load(tmp_path / 'b.pth')['state_dict']
    assert all(torch.equal(value, saved[name]) for name, value in teachers.b.state_dict().items())
    assert are_trained(config)
    assert not are_trained(dict(a=dict(build_cfg=TOY)))


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({}, r'teachers: expected teachers by name, got none'),
        ([TOY], r'teachers: expected teachers by name'),
        (dict(a=TOY), r'teachers.a: expected a dict with build_cfg, the config of a teacher, got type'),
        ({'a.b': dict(build_cfg=TOY)}, r"teachers.a.b: expected a name for a teacher, got 'a.b'"),
        (dict(forward=dict(build_cfg=TOY)), r"teachers.forward: expected a name for a teacher, got 'forward'"),
        *(
            ({name: dict(build_cfg=TOY)}, rf"teachers.{name}: expected a name for a teacher, got '{name}'")
            for name in ('weights', 'names', 'run', 'faults', 'training', '_preprocessing')
        ),
        (dict(a=dict(build_cfg=TOY, wieght=2)), r"teachers.a.wieght: .*did you mean 'weight'"),
        (dict(a=dict(build_cfg=TOY, weight=0)), r'teachers.a.weight: expected a finite number above 0, got 0'),
        (dict(a=dict(build_cfg=dict(type='Toy'))), r'teachers.a.build_cfg.type'),
        (dict(a=dict(build_cfg=TOY, ckpt_path='no.pth')), r'teachers.a.ckpt_path: .*no.pth'),
    ],
)
def test_bad_input(config, message):
    with pytest.raises(UserError, match=message):
        build_teachers(config, None)


def test_a_draft_keeps_all_faults():
    with drafting():
        teachers = build_teachers(dict(a=dict(build_cfg=dict(type='Toy')), b=dict(weight=1)), None)
    assert [fault.where for fault in teachers.faults] == ['teachers.a.build_cfg.type', 'teachers.b']
