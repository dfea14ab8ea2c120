import pytest
import torch
from mmengine.config import Config
from toy import ToyClassifier, algorithm_config, runner_config

from kd_plugins.engine.resume import build_runner, choose_checkpoint
from kd_plugins.errors import UserError
from kd_plugins.preflight.checkpoints import check_checkpoint

HOOKS = dict(checkpoint=dict(type='CheckpointHook', interval=1))


@pytest.fixture
def work_dir(tmp_path):
    build_runner(Config(runner_config(tmp_path / 'run', epochs=2, default_hooks=HOOKS))).train()
    return tmp_path / 'run'


def config_of(work_dir, **changes):
    return Config(dict(work_dir=str(work_dir), resume=True, load_from=None, **changes))


def test_the_newest_with_its_seed(work_dir):
    config = config_of(work_dir)
    assert choose_checkpoint(config) == []
    assert config.load_from == str(work_dir / 'epoch_2.pth')
    assert config.randomness.seed == 0


def test_a_damaged_one_is_passed_over_with_a_warning(work_dir):
    (work_dir / 'epoch_2.pth').write_bytes(b'')
    (work_dir / 'epoch_3.pth.tmp').write_bytes(b'half')
    config = config_of(work_dir)
    (told,) = choose_checkpoint(config)
    assert told.startswith(f'warning: {work_dir / "epoch_2.pth"} is passed over: ')
    assert config.load_from == str(work_dir / 'epoch_1.pth')
    assert not list(work_dir.glob('*.tmp'))


def test_no_whole_one_is_refused(work_dir):
    for path in work_dir.glob('*.pth'):
        path.write_bytes(b'')
    with pytest.raises(UserError) as refusal:
        choose_checkpoint(config_of(work_dir))
    assert 'epoch_1.pth' in str(refusal.value)
    assert 'epoch_2.pth' in str(refusal.value)


@pytest.mark.parametrize('note', [True, False])
def test_nothing_to_resume_begins_anew(tmp_path, note):
    if note:
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'gone.pth'))
    config = config_of(tmp_path)
    assert choose_checkpoint(config) == [f'no checkpoint to resume from in {tmp_path}: the training begins']
    assert config.load_from is None
    assert not config.resume


@pytest.mark.parametrize('resume', ['auto', 'PATH'])
def test_the_weights_to_begin_with_are_for_a_beginning(work_dir, resume):
    path = str(work_dir / 'epoch_1.pth')
    config = Config(dict(work_dir=str(work_dir), resume=path if resume == 'PATH' else 'auto', load_from='own.pth'))
    assert choose_checkpoint(config) == []
    assert config.resume is True
    assert config.load_from == (path if resume == 'PATH' else str(work_dir / 'epoch_2.pth'))


def test_a_beginning_has_its_weights(tmp_path):
    config = Config(dict(work_dir=str(tmp_path), resume='auto', load_from='own.pth'))
    assert choose_checkpoint(config) == [f'no checkpoint to resume from in {tmp_path}: the training begins']
    assert config.resume is False
    assert config.load_from == 'own.pth'


def test_another_seed_is_told(work_dir):
    config = config_of(work_dir, randomness=dict(seed=7))
    assert choose_checkpoint(config) == ['warning: seed 0 of the checkpoint is used, not 7']
    assert config.randomness.seed == 0


def test_without_resume_nothing_is_chosen(work_dir):
    config = Config(dict(work_dir=str(work_dir), resume=False, load_from=None))
    assert choose_checkpoint(config) == []
    assert config.load_from is None


class TestRestarted:
    @pytest.fixture(autouse=True)
    def _restarted(self, monkeypatch):
        monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')

    @staticmethod
    def config(work_dir, **changes):
        return Config(dict(work_dir=str(work_dir), launcher='pytorch', **changes))

    @pytest.mark.parametrize('load_from', [None, 'pretrained.pth'])
    @pytest.mark.parametrize('resume', ['auto', True, 'other.pth', False])
    def test_what_was_saved_comes_first(self, work_dir, resume, load_from):
        config = self.config(work_dir, resume=resume, load_from=load_from)
        choose_checkpoint(config)
        assert config.resume
        assert config.load_from == str(work_dir / 'epoch_2.pth')

    def test_nothing_was_saved(self, tmp_path):
        config = self.config(tmp_path, resume=False, load_from='pretrained.pth')
        assert choose_checkpoint(config) == []
        assert not config.resume
        assert config.load_from == 'pretrained.pth'

    def test_what_lay_there_before_is_another_trainings(self, work_dir, monkeypatch):
        monkeypatch.setenv('KD_PLUGINS_LAUNCHED', '29991231_000000')
        config = self.config(work_dir, resume=False, load_from=None)
        assert choose_checkpoint(config) == []
        assert not config.resume

    def test_a_path_that_was_given_comes_before_what_lay_there(self, work_dir, monkeypatch):
        monkeypatch.setenv('KD_PLUGINS_LAUNCHED', '29991231_000000')
        config = self.config(work_dir, resume=str(work_dir / 'epoch_1.pth'), load_from=None)
        assert choose_checkpoint(config) == []
        assert config.resume is True
        assert config.load_from == str(work_dir / 'epoch_1.pth')


class TestQueuedAgain:
    """By Slurm, which starts the same job a second time."""

    @pytest.fixture(autouse=True)
    def _job(self, monkeypatch):
        monkeypatch.setenv('SLURM_JOB_ID', '7')

    @pytest.mark.parametrize(
        ('launcher', 'job', 'resumes'), [('slurm', '7', True), ('slurm', '8', False), ('none', '7', False)]
    )
    def test_it_goes_on_from_what_the_same_job_saved(self, work_dir, monkeypatch, launcher, job, resumes):
        monkeypatch.setenv('SLURM_RESTART_COUNT', '1')
        monkeypatch.setenv('SLURM_JOB_ID', job)
        config = Config(dict(work_dir=str(work_dir), launcher=launcher, resume=False, load_from=None))
        assert choose_checkpoint(config) == []
        assert config.resume is resumes
        assert config.load_from == (str(work_dir / 'epoch_2.pth') if resumes else None)

    @pytest.fixture
    def work_dir(self, _job, tmp_path):
        build_runner(Config(runner_config(tmp_path / 'run', epochs=2, default_hooks=HOOKS))).train()
        return tmp_path / 'run'


def test_checkpoints_elsewhere_are_found(tmp_path):
    elsewhere = dict(checkpoint=dict(type='CheckpointHook', interval=1, out_dir=str(tmp_path / 'elsewhere')))
    build_runner(Config(runner_config(tmp_path / 'run', default_hooks=elsewhere))).train()
    config = config_of(tmp_path / 'run', default_hooks=elsewhere)
    choose_checkpoint(config)
    assert config.load_from == str(tmp_path / 'elsewhere/run/epoch_1.pth')


def test_another_teacher_is_refused_with_both_fingerprints(tmp_path):
    teachers = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        teachers.append(tmp_path / f'teacher_{seed}.pth')
        torch.save({'state_dict': ToyClassifier(channels=6).state_dict()}, teachers[-1])

    def config_with(path):
        model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(teacher_ckpt=str(path)))
        return Config(runner_config(tmp_path / 'run', model=model, default_hooks=HOOKS))

    build_runner(config_with(teachers[0])).train()
    path = str(tmp_path / 'run/epoch_1.pth')
    check_checkpoint(build_runner(config_with(teachers[0])).model, path, '--resume', resume=True)
    with pytest.raises(UserError) as refusal:
        check_checkpoint(build_runner(config_with(teachers[1])).model, path, '--resume', resume=True)
    digests = torch.load(path, weights_only=True)['kd_plugins']['teachers']
    assert digests['teacher'][:12] in str(refusal.value)
    assert str(refusal.value).count('…') >= 2
