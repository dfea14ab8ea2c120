"""What a run leaves for reports: measured on trainings of a few steps."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.evaluation import Accuracy

from kd_plugins.build import build_model
from kd_plugins.engine import run_result
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import set_training_options, train
from kd_plugins.engine.launch import test as evaluate
from kd_plugins.engine.run_result import describe_config
from kd_plugins.memory_format import store_channels_last
from kd_plugins.report.result import read_result

QUICKSTART = Path(__file__).parents[2] / 'configs/quickstart'


@pytest.fixture(scope='module')
def distillation(tmp_path_factory):
    """A distillation of six steps and its runner; the teacher's weights are random."""
    folder = tmp_path_factory.mktemp('distillation')
    config = small('kd_vgg_cnn_digits', folder)
    config.model.teacher_ckpt = random_teacher(folder)
    config.experiment = dict(arm='main', options=dict(tau=4))
    return train(config), read_result(folder / 'run')


def small(stem, folder, **options):
    config = load_config(QUICKSTART / f'{stem}.py', {'train_cfg.max_iters': 6, 'train_cfg.val_interval': 3, **options})
    config.work_dir, config.launcher = str(folder / 'run'), 'none'
    config.default_hooks.logger.interval = 2
    config.randomness.seed = 5
    return config


def random_teacher(folder):
    config = load_config(QUICKSTART / 'teacher_vgg_digits.py')
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, _ = build_model(config.model, 'model')
    path = folder / 'teacher.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def test_metrics_are_those_of_the_test_data(distillation):
    runner, result = distillation
    assert (result.split, result.weights, result.seed) == ('test', 'last', 5)
    assert result.score == pytest.approx(runner.test()['accuracy/top1'])
    # the teacher is scored on the test data as well: a share of 899 images, not of the 180 for validation
    correct = result.teacher_score / 100 * 899
    assert correct == pytest.approx(round(correct), abs=1e-3)
    assert result.teacher_score != result.curves['metrics']['teacher.accuracy/top1'][-1][1]
    assert len(result.curves['metrics']['teacher.accuracy/top1']) == 2


def test_training_and_models(distillation):
    _, result = distillation
    assert result.training['images'] == 100
    assert result.training['iterations'] == 6
    # four steps of up to 32 images are an epoch of 100
    assert result.training['epochs'] == 1.5
    assert 0 < result.cost < result.training['seconds']
    # 3*32*9 + 32*64*9 + 64*128*9 weights, two BatchNorm numbers a channel, 128*10 + 10 of the classifier
    assert result.student['parameters'] == 864 + 18432 + 73728 + 2 * (32 + 64 + 128) + 1290
    assert result.student['bytes'] >= 4 * result.student['parameters']
    assert result.teacher['parameters'] > result.student['parameters']
    assert result.student['latency_ms'] > 0
    assert result.experiment == dict(arm='main', options=dict(tau=4), sweep=None)
    assert [step for step, _ in result.curves['losses']['distill.loss_kl']] == [2, 4, 6]
    assert result.versions['torch'] == torch.__version__.partition('+')[0]


def test_the_preprocessor_is_recorded_as_it_was_built(distillation, tmp_path):
    config = small('student_cnn_digits', tmp_path)
    # where the distillation has it, and not where its data have it
    config.model.data_preprocessor = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])
    train(config)
    taught, alone = (
        found.config['data']['data_preprocessor'] for found in (distillation[1], read_result(tmp_path / 'run'))
    )
    assert (alone['mean'], alone['std']) == ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert taught['mean'] != alone['mean']
    # what no config says
    assert taught['type'] == alone['type']
    assert taught['pad_value'] == 0


def test_validation_where_there_are_no_test_data(tmp_path):
    config = small('student_cnn_digits', tmp_path)
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        config.pop(key)
    runner = train(config)
    result = read_result(tmp_path / 'run')
    assert result.split == 'val'
    assert result.metrics == {'accuracy/top1': runner.message_hub.get_scalar('val/accuracy/top1').current()}
    assert result.teacher is None


def test_the_best_weights_on_validation_data(tmp_path, monkeypatch):
    config = small('student_cnn_digits', tmp_path)
    config.default_hooks.checkpoint.update(save_best='accuracy/top1', interval=3)
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        config.pop(key)
    # the first one is the preflight's
    scores = iter([0.0, 60.0, 20.0, 59.0])
    monkeypatch.setattr(Accuracy, 'compute_metrics', lambda self, results: {'top1': next(scores)})
    train(config)
    # those of the third validation are measured, not the last ones
    assert read_result(tmp_path / 'run').score == 59.0


def test_the_best_checkpoint_counts(tmp_path, monkeypatch):
    config = small('student_cnn_digits', tmp_path)
    config.default_hooks.checkpoint.update(save_best='accuracy/top1', interval=3)
    scores = iter([0.0, 60.0, 20.0, 50.0])
    monkeypatch.setattr(Accuracy, 'compute_metrics', lambda self, results: {'top1': next(scores)})

    runner = train(config)

    result = read_result(tmp_path / 'run')
    assert result.weights == 'best_accuracy_top1_iter_3.pth'
    assert result.score == 50.0
    best = torch.load(tmp_path / 'run' / result.weights, weights_only=True)['state_dict']
    assert all(torch.equal(best[name], tensor) for name, tensor in runner.model.state_dict().items())


def test_averaged_weights_count(tmp_path):
    config = small('student_cnn_digits', tmp_path, **{'train_cfg.max_iters': 30, 'train_cfg.val_interval': 30})
    config.custom_hooks = [dict(type='EMAHook', momentum=0.3, update_buffers=True)]
    train(config)
    result = read_result(tmp_path / 'run')
    config = small('student_cnn_digits', tmp_path / 'again')
    # where an EMAHook averages, state_dict holds the averaged weights
    config.load_from = str(tmp_path / 'run' / 'iter_30.pth')
    assert result.score == pytest.approx(evaluate(config)['accuracy/top1'])
    # and the last weights are others
    last = torch.load(config.load_from, weights_only=True)['ema_state_dict']
    last.pop('steps')
    torch.save({name.removeprefix('module.'): tensor for name, tensor in last.items()}, tmp_path / 'last.pth')
    config = small('student_cnn_digits', tmp_path / 'last')
    config.load_from = str(tmp_path / 'last.pth')
    assert result.score != evaluate(config)['accuracy/top1']


def test_no_metric_no_result(tmp_path):
    config = small('student_cnn_digits', tmp_path)
    for part in ('val', 'test'):
        for key in ('dataloader', 'evaluator', 'cfg'):
            config.pop(f'{part}_{key}')
    train(config)
    assert not (tmp_path / 'run' / 'result.json').exists()


class TestFingerprint:
    def test_is_of_what_is_trained(self):
        config = load_config(QUICKSTART / 'kd_vgg_cnn_digits.py')
        first = describe_config(config)['fingerprint']
        config.merge_from_dict({'randomness.seed': 9, 'work_dir': 'elsewhere', 'experiment.arm': 'main'})
        assert describe_config(config)['fingerprint'] == first
        config.model.distiller.distill_losses.loss_kl.tau = 5
        assert describe_config(config)['fingerprint'] != first

    def test_averaged_weights_are_a_part_of_the_schedule(self):
        config = load_config(QUICKSTART / 'student_cnn_digits.py')
        config.custom_hooks = [dict(type='EMAHook', momentum=0.1), dict(type='ProgressHook')]
        assert describe_config(config)['schedule']['averaging'] == [dict(type='EMAHook', momentum=0.1)]

    def test_where_the_weights_begin_is_a_part(self):
        config = load_config(QUICKSTART / 'student_cnn_digits.py')
        first = describe_config(config)['fingerprint']
        config.load_from = 'other.pth'
        assert describe_config(config)['fingerprint'] != first
        # but not where a resumed training goes on
        config.resume = True
        resumed = describe_config(config)['fingerprint']
        config.load_from = 'another.pth'
        assert describe_config(config)['fingerprint'] == resumed

    @pytest.mark.parametrize('load_from', [None, 'other.pth'])
    @pytest.mark.parametrize('resume', [None, 'auto', 'run/iter_2.pth'])
    def test_a_resumed_run_is_the_same_experiment(self, load_from, resume):
        config = load_config(QUICKSTART / 'student_cnn_digits.py')
        config.load_from = load_from
        first = describe_config(config)['fingerprint']
        set_training_options(config, resume=resume)
        assert describe_config(config)['fingerprint'] == first

    def test_is_json(self):
        described = describe_config(Config(dict(model=dict(type=torch.nn.Linear), train_cfg=dict(max_epochs=1))))
        assert json.loads(json.dumps(described)) == described

    def test_of_a_config_that_the_preflight_will_refuse(self):
        config = Config(dict(model=dict(), train_dataloader='x', custom_hooks='y', experiment='z', randomness=3))
        assert describe_config(config)['data']['dataset'] is None


def test_a_curve_keeps_its_end():
    curve = [(step, float(step)) for step in range(1, 1002)]
    thin = run_result._thin(curve)
    assert len(thin) <= run_result.POINTS
    assert thin[-1] == (1001, 1001.0)
    assert run_result._thin(curve[:7]) == curve[:7]


@pytest.mark.parametrize('fails', [False, True])
def test_latency_is_that_of_contiguous_weights(fails):
    class Layouts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.seen = []

        def forward(self, inputs, mode):
            self.seen.append((self.conv.weight.is_contiguous(), inputs.is_contiguous()))
            if fails:
                raise KeyError('boxes')
            return self.conv(inputs)

    model = Layouts()
    store_channels_last(model)
    weight, place = model.conv.weight, model.conv.weight.data_ptr()
    images = torch.zeros(1, 3, 8, 8).contiguous(memory_format=torch.channels_last)

    latency = run_result._latency(model, lambda batch, training: dict(inputs=batch), images)

    assert (latency is None) is fails
    assert set(model.seen) == {(True, True)}
    # and is trained on as it was
    assert model.conv.weight is weight
    assert weight.data_ptr() == place
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_a_model_that_wants_more_than_an_image_has_no_latency():
    class Picky(torch.nn.Module):
        def forward(self, inputs, mode):
            raise KeyError('boxes')

    assert run_result._latency(Picky(), lambda batch, training: dict(inputs=batch), torch.zeros(1)) is None
