"""The package beside its Python files: configs that others can name, metafiles, and the wheel that carries both."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from mmengine.hub import get_config
from shipped import CONFIGS

import kd_plugins
from kd_plugins.build import library_config_file, library_folder
from kd_plugins.cli.kd import COMMANDS
from kd_plugins.report.result import read_result

REPOSITORY = Path(__file__).parents[1]
FOLDERS = sorted(path for path in CONFIGS.iterdir() if path.is_dir() and path.name != '_base_')
PARTS = ('kd_plugins', 'configs', 'tools', 'model-index.yml', 'pyproject.toml', 'README.md', 'LICENSE')
# instruments of the repository, which a wheel has no use for
LEFT_OUT = {'benchmark.py', 'benchmark_detector.py', 'methods.py', 'parity.py', 'quickstart.py'}
STUDENT = 'kd_plugins::quickstart/student_cnn_digits.py'
DISTILLATION = 'kd_plugins::quickstart/kd_vgg_cnn_digits.py'


# what mypy need not read to see the types of ours
SKIPPED = ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'numpy', 'pandas', 'matplotlib', 'scipy', 'sklearn', 'rich')


def metafile(folder):
    return yaml.safe_load((folder / 'metafile.yml').read_text())


def models():
    return [model for folder in FOLDERS for model in metafile(folder)['Models']]


def test_the_package_in_a_checkout_has_the_files_of_the_checkout():
    folder = library_folder('kd_plugins')
    for name in ('configs', 'tools', 'model-index.yml'):
        assert (folder / name).resolve() == REPOSITORY / name
    assert library_config_file(STUDENT).samefile(CONFIGS / 'quickstart' / 'student_cnn_digits.py')


def test_mmengine_finds_our_configs():
    config = get_config(DISTILLATION)
    assert Path(config.filename).samefile(CONFIGS / 'quickstart' / 'kd_vgg_cnn_digits.py')
    assert config.model.type == 'kd_plugins.SingleTeacherDistill'
    # one that no metafile lists
    assert get_config('kd_plugins::_base_/digits.py').train_dataloader.dataset.type == 'kd_plugins.Digits'


def test_the_index_has_every_metafile():
    index = yaml.safe_load((REPOSITORY / 'model-index.yml').read_text())
    assert index['Import'] == [f'configs/{folder.name}/metafile.yml' for folder in FOLDERS]


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
def test_a_metafile_lists_the_configs_of_its_folder(folder):
    listed = metafile(folder)['Models']
    names = [path.relative_to(REPOSITORY).as_posix() for path in folder.rglob('*.py')]
    assert sorted(model['Config'] for model in listed) == sorted(names)
    assert [model['Name'] for model in listed] == [Path(model['Config']).stem for model in listed]
    assert all(model['Metadata']['Training Data'] for model in listed)


def test_each_model_is_of_a_collection_that_is_described_once():
    collections = [item for folder in FOLDERS for item in metafile(folder).get('Collections', [])]
    names = [collection['Name'] for collection in collections]
    assert len(names) == len(set(names))
    assert {model['In Collection'] for model in models()} == set(names)
    without_paper = [collection['Name'] for collection in collections if 'Paper' not in collection]
    assert without_paper == ['Without distillation']
    readme = (REPOSITORY / 'README.md').read_text()
    papers = [collection['Paper'] for collection in collections if 'Paper' in collection]
    assert all(paper['Title'] and f']({paper["URL"]})' in readme for paper in papers)


def test_names_of_models_are_unique():
    names = [model['Name'] for model in models()]
    assert len(names) == len(set(names))


def test_the_results_are_those_of_the_readme():
    text = (REPOSITORY / 'README.md').read_text()
    measured = {path: (mean, spread) for mean, spread, path in re.findall(r'\[([\d.]+) ± ([\d.]+)\]\((\S+)\)', text)}
    assert len(measured) > 20
    listed = {}
    for model in models():
        for result in model.get('Results', []):
            metrics = result['Metrics']
            mean, spread = metrics['Top 1 Accuracy'], metrics['Standard Deviation of Top 1 Accuracy']
            listed[model['Config']] = (f'{mean:.2f}', f'{spread:.2f}')
            assert result['Dataset'] == model['Metadata']['Training Data']
    assert listed == measured


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel of this checkout, built in a copy: a build leaves files beside what it builds."""
    folder = tmp_path_factory.mktemp('wheel')
    copy = folder / 'copy'
    copy.mkdir()
    for name in PARTS:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(source, copy / name)
    pip(sys.executable, 'wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', str(folder), str(copy))
    (built,) = folder.glob('*.whl')
    return built


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """The folder of the programs of an environment with the wheel, and with all else that this one has."""
    environment = tmp_path_factory.mktemp('environment')
    venv.create(environment, with_pip=False, symlinks=True)
    paths = {'base': str(environment), 'platbase': str(environment)}
    # packages of this environment can be imported there; an editable install of ours, which takes a .pth file, not
    Path(sysconfig.get_path('purelib', 'venv', paths), 'packages.pth').write_text(sysconfig.get_path('purelib') + '\n')
    programs = Path(sysconfig.get_path('scripts', 'venv', paths))
    pip(str(programs / 'python'), 'install', '--no-deps', '--no-index', str(wheel))
    return programs


def pip(python, *arguments):
    run([python, '-m', 'pip', '--disable-pip-version-check', '-q', *arguments], Path.cwd())


def run(command, folder, status=0):
    """Run a program of an environment without what leads to this checkout; returns what it printed."""
    variables = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIRTUAL_ENV')}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_carries_configs_tools_and_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = [path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob('*') if path.suffix in ('.py', '.yml')]
    tools = {path.name for path in (REPOSITORY / 'tools').iterdir() if path.suffix in ('.py', '.sh')} - LEFT_OUT
    data = {name.removeprefix('kd_plugins/.mim/') for name in names if '/.mim/' in name}
    assert data == {'model-index.yml', *(f'configs/{name}' for name in configs), *(f'tools/{name}' for name in tools)}
    assert {'kd_plugins/py.typed', 'kd_plugins/report/page.html.j2'} <= names
    assert not [
        name
        for name in names
        if name.split('/')[0] not in ('kd_plugins', Path(wheel).name.split('-py3')[0] + '.dist-info')
    ]


@pytest.mark.slow
def test_the_installed_command_works_from_an_empty_folder(installed, tmp_path):
    kd = str(installed / 'kd')
    assert all(f'\n  {name} ' in run([kd], tmp_path, status=2) for name in COMMANDS)
    assert f'{DISTILLATION}: good' in run([kd, 'check', DISTILLATION], tmp_path)
    assert list(tmp_path.iterdir()) == []

    run([kd, 'train', STUDENT, '--cfg-options', 'train_cfg.max_iters=4', 'train_cfg.val_interval=4'], tmp_path)
    result = json.loads((tmp_path / 'work_dirs' / 'student_cnn_digits' / 'result.json').read_text())
    assert result['training']['iterations'] == 4


@pytest.mark.slow
def test_the_installed_configs_can_be_inherited_from(installed, tmp_path):
    (tmp_path / 'own.py').write_text(f'_base_ = {STUDENT!r}\ntrain_cfg = dict(max_iters=4)\n')
    script = (
        'import kd_plugins\n'
        'from kd_plugins.engine.config import load_config\n'
        'from mmengine.hub import get_config\n'
        'own = load_config("own.py")\n'
        f'print(kd_plugins.__file__, own.model == get_config({STUDENT!r}).model, own.train_cfg.max_iters)\n'
    )
    printed = run([str(installed / 'python'), '-W', 'ignore', '-c', script], tmp_path).splitlines()[-1]
    where, *rest = printed.split()
    assert Path(where).is_relative_to(installed.parent)
    assert rest == ['True', '4']


@pytest.mark.slow
def test_a_config_that_is_made_there_names_its_bases_by_the_package(installed, tmp_path):
    models = ['--teacher', 'resnet18_8xb32_in1k', '--student', 'mobilenet-v2_8xb32_in1k']
    arguments = ['--method', 'kd', *models, '--dataset', 'digits', '-o', 'new.py']
    assert 'look at it with kd check new.py' in run([str(installed / 'kd'), 'new', *arguments], tmp_path)
    text = (tmp_path / 'new.py').read_text()
    assert "_base_ = ['kd_plugins::_base_/digits_resnet18_schedule.py']" in text
    assert '# Launch: kd train new.py\n' in text


def test_what_most_scripts_need_is_imported_from_the_top(tmp_path):
    from kd_plugins.engine import cache_teacher, check, config, export, launch
    from kd_plugins.errors import UserError

    assert kd_plugins.UserError is UserError
    assert kd_plugins.cache_teacher is cache_teacher.cache_teacher
    assert kd_plugins.check is check.check
    assert kd_plugins.evaluate is launch.test
    assert kd_plugins.export_student is export.export_student
    assert kd_plugins.load_config is config.load_config
    assert kd_plugins.train is launch.train
    assert set(kd_plugins.__all__) <= set(dir(kd_plugins))
    assert set(kd_plugins._LAZY) == set(kd_plugins.__all__) - {'__version__', 'registry'}


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'kd_plugins' has no attribute 'trian'"):
        kd_plugins.trian  # noqa: B018
    # a room of the package still is imported as a module
    from kd_plugins import errors

    assert errors.__name__ == 'kd_plugins.errors'


def test_a_config_is_checked_trained_and_evaluated_as_it_is_loaded(tmp_path, monkeypatch):
    from kd_plugins import check, evaluate, load_config, train

    monkeypatch.chdir(tmp_path)
    options = {'train_cfg.max_iters': 4, 'train_cfg.val_interval': 4}
    findings = check(load_config(STUDENT, options))
    assert (findings.faults, findings.warnings) == ([], [])
    assert list(tmp_path.iterdir()) == []

    runner = train(load_config(STUDENT, options))
    assert Path(runner.work_dir) == tmp_path / 'work_dirs' / 'student_cnn_digits'
    config = load_config(STUDENT)
    config.load_from = str(Path(runner.work_dir) / 'iter_4.pth')
    assert evaluate(config)['accuracy/top1'] == pytest.approx(read_result(runner.work_dir).score)


@pytest.mark.slow
def test_a_type_checker_sees_our_types(installed, tmp_path):
    (tmp_path / 'script.py').write_text(
        'from kd_plugins import UserError, cache_teacher, evaluate, load_config, train\n'
        'config = load_config("config.py")\n'
        'train(config)\n'
        'scores: dict[str, float] = evaluate(config)\n'
        'cache_teacher(config)\n'
        'load_config(3)\n'
        'UserError("text")\n'
    )
    skipped = ','.join(f'{name}.*' for name in SKIPPED)
    (tmp_path / 'mypy.ini').write_text(
        f'[mypy]\nignore_missing_imports = True\n'
        f'[mypy-{skipped}]\nfollow_imports = skip\nfollow_imports_for_stubs = True\n'
    )
    command = [sys.executable, '-m', 'mypy', '--python-executable', str(installed / 'python'), 'script.py']
    found = re.findall(r'script\.py:(\d+): error: .*\[([a-z-]+)\]', run(command, tmp_path, status=1))
    assert found == [('5', 'call-arg'), ('6', 'arg-type'), ('7', 'arg-type')]
