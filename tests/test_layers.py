"""A file of the package imports from its own room and from those below, never from above."""

import ast
from pathlib import Path

import pytest

import kd_plugins

PACKAGE = Path(kd_plugins.__file__).parent
# from the bottom; rooms of one row know nothing of each other
ROWS = [
    ('durable', 'errors', 'version'),
    ('arguments', 'config_file', 'config_text', 'memory_format', 'mmrazor_import', 'randomness', 'stack'),
    ('checkpoint',),
    ('library_changes',),
    ('registry',),
    ('build',),
    ('losses',),
    ('connectors',),
    ('recorders',),
    ('deliveries',),
    ('distiller',),
    ('teacher',),
    ('algorithms',),
    ('datasets',),
    ('models',),
    ('compat',),
    ('preflight',),
    ('report', 'plain'),
    ('scaffold',),
    ('engine',),
    ('benchmark', 'sweep', 'visualize'),
    ('cli',),
]
HEIGHT = {room: height for height, row in enumerate(ROWS) for room in row}
MAY_IMPORT = {
    'datasets': {'mmpretrain'},
    'models': {'mmpretrain'},
    'compat': {'mmpretrain', 'mmrazor'},
    'benchmark': {'mmdet'},
}
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob('*.py') if path != PACKAGE / '__init__.py')


def imported_modules(source: str, package: str) -> list[str]:
    """Dotted names of everything that a file imports, at any depth; ``from a import b`` gives a.b."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                base = '.'.join([*package.split('.')[: len(package.split('.')) - node.level + 1], base]).rstrip('.')
            names += [f'{base}.{alias.name}' for alias in node.names]
    return names


def upward_imports(room: str, source: str, package: str = 'kd_plugins') -> list[str]:
    found = []
    for name in imported_modules(source, package):
        parts = name.split('.')
        if parts[0] != 'kd_plugins' or len(parts) == 1:
            continue
        target = parts[1]
        if target != room and HEIGHT.get(target, len(ROWS)) >= HEIGHT[room]:
            found.append(name)
    return found


def room_of(path: Path) -> str:
    return path.parts[0].removesuffix('.py')


def test_every_room_has_its_place():
    assert {room_of(path) for path in FILES} <= set(HEIGHT)


@pytest.mark.parametrize('path', FILES, ids=str)
def test_no_upward_import(path):
    package = '.'.join(['kd_plugins', *path.parts[:-1]])
    assert upward_imports(room_of(path), (PACKAGE / path).read_text(), package) == []


@pytest.mark.parametrize('path', FILES, ids=str)
def test_the_core_knows_no_task(path):
    modules = imported_modules((PACKAGE / path).read_text(), 'kd_plugins')
    known = {name.split('.')[0] for name in modules} & {'mmpretrain', 'mmrazor', 'mmdet', 'mmseg'}
    assert known <= MAY_IMPORT.get(room_of(path), set())


@pytest.mark.parametrize(
    'line',
    [
        'from kd_plugins.teacher import FrozenTeacher',
        'import kd_plugins.algorithms',
        'from kd_plugins import engine',
        'from ..engine import launch',
        'def late():\n    from kd_plugins.engine.launch import train',
        'from kd_plugins.elsewhere import thing',
    ],
)
def test_an_upward_import_would_be_seen(line):
    assert upward_imports('losses', line, 'kd_plugins.losses')


@pytest.mark.parametrize('line', ['import kd_plugins', 'from kd_plugins.errors import Fault', 'from . import shapes'])
def test_a_downward_import_passes(line):
    assert upward_imports('losses', line, 'kd_plugins.losses') == []
