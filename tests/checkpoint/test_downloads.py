"""Against a server of this machine."""

import hashlib
import http.server
import io
import os
import signal
import threading
import time

import pytest
import torch
from mmengine.runner import CheckpointLoader

import kd_plugins.checkpoint.zoo
from kd_plugins.checkpoint import local_path, read_checkpoint
from kd_plugins.errors import UserError


def content():
    buffer = io.BytesIO()
    torch.save({'a': torch.ones(2000)}, buffer)
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; cuts an answer off after ``stop`` bytes, or stalls there."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files, self.asked, self.stop, self.stalls = {}, [], None, False
        self.goes_on = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, name):
        return f'http://127.0.0.1:{self.server_port}/models/{name}'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition('/')[2].partition('?')[0]
        self.server.asked.append(name)
        if name not in self.server.files:
            self.send_error(404)
            return
        data = self.server.files[name]
        self.send_response(200)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data[: self.server.stop])
        self.wfile.flush()
        if self.server.stalls:
            self.server.goes_on.wait(60)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    yield server
    server.goes_on.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub/checkpoints'


def hashed(data, name='resnet18_20210831'):
    return f'{name}-{hashlib.sha256(data).hexdigest()[:8]}.pth'


@pytest.mark.parametrize('read', [lambda url: read_checkpoint(url, 'here'), CheckpointLoader.load_checkpoint])
def test_once_and_under_its_name(server, folder, read):
    data = content()
    server.files[hashed(data)] = data
    for _ in range(2):
        assert read(server.url(hashed(data)))['a'].sum() == 2000
    assert server.asked == [hashed(data)]
    assert [path.name for path in folder.iterdir()] == [hashed(data)]


@pytest.mark.parametrize('name', ['plain.pth', 'resnet18-{}.pth'])
def test_a_download_that_is_cut_off_leaves_nothing_and_is_tried_again(server, folder, name):
    data = content()
    name = name.format(hashlib.sha256(data).hexdigest()[:8])
    server.files[name], server.stop = data, 1000
    with pytest.raises(UserError, match=f'cut off after 1,000 of {len(data):,} bytes') as caught:
        read_checkpoint(server.url(name), 'teacher_ckpt')
    assert str(folder / name) in caught.value.faults[0].advice
    assert list(folder.iterdir()) == []
    server.stop = None
    assert read_checkpoint(server.url(name), 'teacher_ckpt')['a'].sum() == 2000


def test_another_hash_than_the_name_says(server, folder):
    server.files['resnet18-00000000.pth'] = content()
    for _ in range(2):
        with pytest.raises(UserError, match='its name says 00000000'):
            read_checkpoint(server.url('resnet18-00000000.pth'), 'here')
    assert list(folder.iterdir()) == []
    assert len(server.asked) == 2


@pytest.mark.parametrize('name', ['resnet-50.pth', 'my-cafe.pth', 'a.pth?x=1-00000000.pth'])
def test_names_without_a_hash(server, name):
    server.files[name.partition('?')[0]] = content()
    assert read_checkpoint(server.url(name), 'here')['a'].sum() == 2000


def test_a_file_that_is_not_there(server, folder):
    with pytest.raises(UserError, match='HTTP Error 404'):
        read_checkpoint(server.url('a.pth'), 'here')
    assert list(folder.iterdir()) == []


def test_a_page_instead_of_a_checkpoint(server, folder):
    server.files['a.pth'] = b'<html>log in first</html>'
    with pytest.raises(UserError, match='cannot be read') as caught:
        read_checkpoint(server.url('a.pth'), 'here')
    assert str(folder / 'a.pth') in str(caught.value)


def test_a_hostile_file(server, tmp_path):
    server.files['a.pth'] = b'cbuiltins\nprint\n(tR.'
    with pytest.raises(UserError, match=r'would run code when loaded \(builtins.print\)'):
        CheckpointLoader.load_checkpoint(server.url('a.pth'))


def test_what_a_killed_process_left_is_not_taken(server, folder):
    data = content()
    server.files['a.pth'], server.stop, server.stalls = data, 1000, True
    child = os.fork()
    if not child:
        try:
            read_checkpoint(server.url('a.pth'), 'here')
        finally:
            os._exit(1)
    deadline = time.monotonic() + 30
    while not (folder.is_dir() and any(folder.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not (folder / 'a.pth').exists()
    server.stop, server.stalls = None, False
    server.goes_on.set()
    assert read_checkpoint(server.url('a.pth'), 'here')['a'].sum() == 2000
    assert (folder / 'a.pth').read_bytes() == data


def test_safetensors(server):
    import safetensors.torch

    server.files['a.safetensors'] = safetensors.torch.save({'a': torch.ones(2)})
    assert CheckpointLoader.load_checkpoint(server.url('a.safetensors'))['a'].tolist() == [1, 1]


def test_no_server(server):
    url = server.url('a.pth')
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match='refused'):
        read_checkpoint(url, 'here')


@pytest.mark.parametrize(
    ('scheme', 'function'),
    [
        ('torchvision', 'get_torchvision_models'),
        ('modelzoo', 'get_torchvision_models'),
        ('open-mmlab', 'get_external_models'),
        ('openmmlab', 'get_external_models'),
        ('mmcls', 'get_mmcls_models'),
    ],
)
def test_names_of_model_zoos(server, monkeypatch, scheme, function):
    buffer = io.BytesIO()
    torch.save({'state_dict': {'backbone.a': torch.ones(1), 'head.a': torch.ones(1)}}, buffer)
    server.files['a.pth'] = buffer.getvalue()
    monkeypatch.setattr(kd_plugins.checkpoint.zoo, function, lambda: {'resnet18': server.url('a.pth')})
    loaded = CheckpointLoader.load_checkpoint(f'{scheme}://resnet18')
    assert set(loaded['state_dict']) == ({'a'} if scheme == 'mmcls' else {'backbone.a', 'head.a'})
    assert local_path(f'{scheme}://resnet18').name == 'a.pth'
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        CheckpointLoader.load_checkpoint(f'{scheme}://resnet81')
