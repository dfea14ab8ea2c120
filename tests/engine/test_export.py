"""An exported student is a plain model of its own library, with the weights that were trained."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmengine.hooks import EMAHook
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope
from quantised import build, classifier_config
from toy import algorithm_config, is_same, make_runner, runner_config

from kd_plugins.engine.config import load_config
from kd_plugins.engine.export import export_student
from kd_plugins.errors import UserError
from kd_plugins.preflight import build_from_config

CONFIGS = Path(__file__).parents[2] / 'configs'
DIGITS = 'quickstart/fitnets_resnet50_resnet18_digits.py'
PLAIN_CNN = 'quickstart/kd_vgg_cnn_digits.py'
EXPORTS = {
    'digits.pth': DIGITS,
    'in1k.pth': 'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py',
    'cifar10.safetensors': 'kd/kd_logits_resnet34_resnet18_8xb16_cifar10.py',
}
IMAGES = 3

# runs where nothing of ours can be imported, in the folder of the exports
PLAIN_MMPRETRAIN = """
import sys

sys.modules['kd_plugins'] = None

import numpy as np
from mmpretrain import ImageClassificationInferencer, get_model
from safetensors.torch import load_model

images = list(np.load('images.npy'))
for name in sys.argv[1:]:
    stem, suffix = name.split('.')
    if suffix == 'safetensors':
        model = get_model(f'{stem}.py')
        load_model(model, name)
        inferencer = ImageClassificationInferencer(model)
    else:
        get_model(f'{stem}.py', pretrained=name)
        inferencer = ImageClassificationInferencer(f'{stem}.py', pretrained=name)
        assert inferencer(images[0])[0]['pred_class'].startswith('class ')
    np.save(f'{stem}.npy', [result['pred_scores'] for result in inferencer(images)])
try:
    import kd_plugins
except ImportError:
    print('without kd_plugins')
"""


def make_distillation(name):
    """A shipped config and its algorithm, with random weights and statistics."""
    config = load_config(CONFIGS / name)
    config.model.teacher_ckpt = None
    if 'cfg_path' in config.model.teacher:
        config.model.teacher.pretrained = False
    torch.manual_seed(0)
    algorithm = build_from_config(config).eval()
    for buffer_name, buffer in algorithm.named_buffers():
        if buffer_name.endswith(('running_mean', 'running_var')):
            buffer.uniform_(0.5, 1.5)
    return config, algorithm


def save(algorithm, path, classes=10, **extra):
    meta = {'dataset_meta': {'classes': tuple(f'class {index}' for index in range(classes))}}
    torch.save({'state_dict': algorithm.state_dict(), 'meta': meta, **extra}, path)
    return path


def predict(config, algorithm, images):
    """The algorithm's own predictions, through the test pipeline of its config."""
    steps = [step for step in config.test_dataloader.dataset.pipeline if step['type'] != 'LoadImageFromFile']
    with DefaultScope.overwrite_default_scope('mmpretrain'), torch.no_grad():
        pipeline = Compose([TRANSFORMS.build(step) for step in steps])
        batches = [default_collate([pipeline(dict(img=image, img_shape=image.shape[:2]))]) for image in images]
        return np.stack([algorithm.test_step(batch)[0].pred_score.numpy() for batch in batches])


@pytest.mark.slow
def test_plain_mmpretrain_predicts_what_the_algorithm_does(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 40, 48, 3), dtype=np.uint8)
    np.save(tmp_path / 'images.npy', images)
    expected = {}
    for out, name in EXPORTS.items():
        config, algorithm = make_distillation(name)
        classes = algorithm.student.head.num_classes
        checkpoint = save(algorithm, tmp_path / 'distillation.ckpt', classes)
        exported = export_student(config, checkpoint, tmp_path / out)
        assert not exported.needs_kd_plugins
        assert exported.has_pipeline
        assert exported.parameters == sum(parameter.numel() for parameter in algorithm.student.parameters())
        expected[Path(out).stem] = predict(config, algorithm, images)

    done = subprocess.run(
        [sys.executable, '-c', PLAIN_MMPRETRAIN, *EXPORTS], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )

    assert done.returncode == 0, done.stderr
    assert 'without kd_plugins' in done.stdout
    for stem, scores in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / f'{stem}.npy'), scores, err_msg=stem)


def test_averaged_weights_are_exported(tmp_path):
    runner = make_runner(tmp_path / 'run', custom_hooks=[dict(type='EMAHook', momentum=0.1, update_buffers=True)])
    runner.train()
    (ema,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    averaged, raw = ema.ema_model.module.architecture.state_dict(), runner.model.architecture.state_dict()

    export_student(Config(runner_config('unused')), tmp_path / 'run/epoch_1.pth', tmp_path / 'student.pth')

    exported = torch.load(tmp_path / 'student.pth', weights_only=True)
    assert is_same(averaged, exported['state_dict'])
    assert not is_same(raw, exported['state_dict'])


@pytest.fixture
def toy(tmp_path):
    """Config of the toy pair and a checkpoint of it, of the kind that holds the teacher too."""
    config = Config(runner_config('unused'))
    algorithm = MODELS.build(dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(teacher_trainable=True)))
    assert any(name.startswith('teacher.') for name in algorithm.state_dict())
    return config, save(algorithm, tmp_path / 'toy.ckpt'), algorithm.architecture.state_dict()


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_checkpoint_holds_the_student_alone(toy, tmp_path, suffix):
    config, checkpoint, student = toy
    out = tmp_path / f'student.v1{suffix}'

    exported = export_student(config, checkpoint, out)

    content = torch.load(out, weights_only=True) if suffix == '.pth' else safetensors.torch.load_file(out)
    assert is_same(student, content['state_dict'] if suffix == '.pth' else content)
    if suffix == '.pth':
        assert content['meta']['dataset_meta']['classes'][1] == 'class 1'
    assert exported.config == tmp_path / 'student.v1.py'
    assert Config.fromfile(exported.config).model == dict(type='ToyClassifier', channels=4)


def test_file_is_as_small_as_its_tensors(toy, tmp_path):
    """A tensor that is a view of a bigger one must not bring that along."""
    config, checkpoint, student = toy
    big = torch.zeros(10**6)
    state = {f'architecture.{name}': tensor for name, tensor in student.items()}
    state['architecture.fc.bias'] = big[:3]
    torch.save({'state_dict': state}, checkpoint)

    export_student(config, checkpoint, tmp_path / 'student.pth')

    assert (tmp_path / 'student.pth').stat().st_size < 50_000


def test_meta_becomes_plain_values(toy, tmp_path):
    config, checkpoint, student = toy
    meta = {'dataset_meta': {'classes': ('a', 'b'), 'palette': np.eye(2), 'count': np.int64(2), 'of': torch.ones(1)}}
    torch.save(
        {'state_dict': {f'architecture.{name}': value for name, value in student.items()}, 'meta': meta}, checkpoint
    )

    export_student(config, checkpoint, tmp_path / 'student.pth')

    exported = torch.load(tmp_path / 'student.pth', weights_only=True)['meta']['dataset_meta']
    assert exported == {'classes': ('a', 'b'), 'palette': [[1.0, 0.0], [0.0, 1.0]], 'count': 2, 'of': None}


def test_architecture_of_ours_is_said_and_imported(tmp_path):
    config, algorithm = make_distillation(PLAIN_CNN)

    exported = export_student(config, save(algorithm, tmp_path / 'distillation.ckpt'), tmp_path / 'cnn.pth')

    assert exported.needs_kd_plugins
    assert Config.fromfile(exported.config).custom_imports.imports == ['kd_plugins']


def test_layers_of_ours_are_said_and_imported(tmp_path):
    """The classes of a quantised ResNet are mmpretrain's and Brevitas', its config names our layer."""
    backbone = dict(
        type='ResNet', depth=18, base_channels=8, stem_channels=8, conv_cfg=dict(type='kd_plugins.QuantConv2d')
    )
    config = Config(dict(default_scope='mmpretrain', model=classifier_config(backbone, 64, head='LinearClsHead')))
    torch.save({'state_dict': build(config.model.to_dict()).state_dict()}, tmp_path / 'resnet.ckpt')

    exported = export_student(config, tmp_path / 'resnet.ckpt', tmp_path / 'resnet.packed.safetensors')

    assert exported.needs_kd_plugins
    assert exported.config == tmp_path / 'resnet.py'
    assert Config.fromfile(exported.config).custom_imports.imports == ['kd_plugins']


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_model_alone_is_a_checkpoint_already(tmp_path, suffix):
    config = load_config(CONFIGS / 'quickstart/student_cnn_digits.py')
    with pytest.raises(UserError, match=r'model\.architecture: .* a ImageClassifier, which has none'):
        export_student(config, 'unused', tmp_path / f'student{suffix}')


def test_data_set_of_ours_leaves_its_pipeline_alone(tmp_path):
    config, algorithm = make_distillation(DIGITS)

    export_student(config, save(algorithm, tmp_path / 'distillation.ckpt'), tmp_path / 'student.pth')

    text = (tmp_path / 'student.py').read_text()
    assert 'kd_plugins.' not in text
    exported = Config.fromfile(tmp_path / 'student.py')
    assert [step.type for step in exported.test_dataloader.dataset.pipeline] == [
        'LoadImageFromFile',
        'Resize',
        'PackInputs',
    ]
    assert exported.model.data_preprocessor == config.data_preprocessor
    assert exported.test_dataloader.dataset.metainfo.classes[0] == 'class 0'
    assert 'teacher' not in exported
    assert 'train_dataloader' not in exported


def test_imports_of_the_student_stay_and_others_go(toy, tmp_path):
    config, checkpoint, _ = toy
    config.custom_imports = dict(imports=['toy', 'json', 'kd_plugins'])

    exported = export_student(config, checkpoint, tmp_path / 'student.pth')

    assert Config.fromfile(exported.config).custom_imports.imports == ['toy']


def test_imports_of_the_test_data_stay(toy, tmp_path, monkeypatch):
    (tmp_path / 'own_metrics.py').write_text(
        'from mmengine.registry import METRICS\nfrom mmpretrain.evaluation import Accuracy\n'
        '@METRICS.register_module(force=True)\nclass OwnAccuracy(Accuracy):\n    pass\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module('own_metrics')
    config, checkpoint, _ = toy
    config.custom_imports = dict(imports=['toy', 'own_metrics'])
    config.test_dataloader = dict(
        batch_size=1, dataset=dict(type='CustomDataset', data_root='data', pipeline=[dict(type='PackInputs')])
    )
    config.test_evaluator = [dict(type='OwnAccuracy')]

    exported = export_student(config, checkpoint, tmp_path / 'student.pth')

    assert Config.fromfile(exported.config).custom_imports.imports == ['toy', 'own_metrics']


@pytest.mark.parametrize('key', ['init_cfg', 'pretrained'])
def test_origin_of_the_first_weights_is_forgotten(toy, tmp_path, key):
    config, checkpoint, _ = toy
    origin = dict(type='Pretrained', checkpoint='https://nowhere.example/weights.pth')
    config.model.architecture.init_cfg = origin if key == 'init_cfg' else dict(type='Own', pretrained=True)

    export_student(config, checkpoint, tmp_path / 'student.pth')

    text = (tmp_path / 'student.py').read_text()
    assert 'nowhere' not in text
    assert 'pretrained=True' not in text


def test_earlier_export_is_replaced(toy, tmp_path):
    config, checkpoint, student = toy
    export_student(config, checkpoint, tmp_path / 'student.pth')
    changed = {f'architecture.{name}': torch.zeros_like(value) for name, value in student.items()}
    torch.save({'state_dict': changed}, checkpoint)

    export_student(config, checkpoint, tmp_path / 'student.pth')

    assert not any(t.any() for t in torch.load(tmp_path / 'student.pth', weights_only=True)['state_dict'].values())


@pytest.mark.parametrize('name', ['student.pth', 'student.py'])
def test_other_files_are_not_replaced(toy, tmp_path, name):
    config, checkpoint, _ = toy
    (tmp_path / name).write_text('mine')

    with pytest.raises(UserError, match=rf'OUT: .*{name}, which exists'):
        export_student(config, checkpoint, tmp_path / 'student.pth')

    assert (tmp_path / name).read_text() == 'mine'


@pytest.mark.parametrize(
    ('out', 'message'),
    [
        ('student.h5', r'OUT: expected a file name that ends in .pth or .safetensors or .packed.safetensors or .onnx'),
        ('student', r'OUT: expected a file name'),
        ('nowhere/student.pth', r'OUT: expected a file in a folder that exists'),
        ('toy.ckpt/student.pth', r'OUT: expected a file in a folder that exists'),
    ],
)
def test_bad_target(toy, tmp_path, out, message):
    config, checkpoint, _ = toy
    with pytest.raises(UserError, match=message):
        export_student(config, checkpoint, tmp_path / out)
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_checkpoint_of_another_model(toy, tmp_path):
    config, checkpoint, student = toy
    state = {f'architecture.{name}': value for name, value in student.items()}
    state['architecture.fc.weight'] = torch.zeros(7, 4)
    state['architecture.extra'] = torch.zeros(1)
    del state['architecture.conv1.weight']
    torch.save({'state_dict': state}, checkpoint)

    with pytest.raises(UserError, match='CHECKPOINT: expected a checkpoint of the student') as error:
        export_student(config, checkpoint, tmp_path / 'student.pth')

    for part in ('conv1.weight', 'extra', 'fc.weight', '[7, 4]'):
        assert part in str(error.value)
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_config_without_a_student(toy, tmp_path):
    _, checkpoint, _ = toy
    with pytest.raises(UserError, match=r'model.architecture: .* a ToyClassifier, which has none'):
        export_student(Config(dict(model=dict(type='ToyClassifier'))), checkpoint, tmp_path / 'student.pth')


@pytest.mark.parametrize('error', [OSError('no space left'), KeyboardInterrupt()])
def test_failing_write_leaves_nothing(toy, tmp_path, monkeypatch, error):
    config, checkpoint, _ = toy

    def fail(content, file):
        file.write(b'half')
        raise error

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
        export_student(config, checkpoint, tmp_path / 'student.pth')
    assert list(tmp_path.iterdir()) == [checkpoint]
