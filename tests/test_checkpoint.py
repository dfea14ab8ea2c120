import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from mmengine.logging import HistoryBuffer
from torch import nn
from toy import ToyClassifier

from kd_plugins.checkpoint import describe_misfit, load_strictly, read_checkpoint, weights_of
from kd_plugins.errors import UserError


class Creator:
    """A pickle that creates a file when it is loaded by a careless reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


class TestReadCheckpoint:
    def test_a_state_dict(self, tmp_path):
        torch.save({'a': torch.ones(2)}, tmp_path / 'a.pth')
        assert torch.equal(read_checkpoint(tmp_path / 'a.pth', 'here')['a'], torch.ones(2))

    def test_safetensors(self, tmp_path):
        safetensors.torch.save_file({'a': torch.ones(2)}, tmp_path / 'a.safetensors')
        assert torch.equal(read_checkpoint(str(tmp_path / 'a.safetensors'), 'here')['a'], torch.ones(2))

    def test_missing_file(self, tmp_path):
        with pytest.raises(
            UserError, match=r'^teacher_ckpt: expected a checkpoint file, got .*no\.pth, which does not'
        ):
            read_checkpoint(tmp_path / 'no.pth', 'teacher_ckpt')

    def test_a_folder_is_no_file(self, tmp_path):
        with pytest.raises(UserError, match='which is a folder'):
            read_checkpoint(tmp_path, 'here')

    def test_a_hostile_pickle_is_refused_and_does_nothing(self, tmp_path):
        for name, content in (('list', [Creator(tmp_path / 'trap')]), ('state', {'a': Creator(tmp_path / 'trap')})):
            torch.save(content, tmp_path / name)
            with pytest.raises(UserError, match='would run code when loaded') as caught:
                read_checkpoint(tmp_path / name, 'here')
            assert '.safetensors' in str(caught.value)
        assert not (tmp_path / 'trap').exists()

    def test_the_trap_is_real(self, tmp_path):
        torch.save([Creator(tmp_path / 'trap')], tmp_path / 'a')
        torch.load(tmp_path / 'a', weights_only=False)[0].close()
        assert (tmp_path / 'trap').exists()

    def test_a_plain_pickle_is_refused(self, tmp_path):
        (tmp_path / 'a.pth').write_bytes(pickle.dumps([Creator(tmp_path / 'trap')]))
        with pytest.raises(UserError):
            read_checkpoint(tmp_path / 'a.pth', 'here')
        assert not (tmp_path / 'trap').exists()

    @pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
    @pytest.mark.parametrize('share', [0, 0.5, 0.99])
    def test_a_truncated_file(self, tmp_path, suffix, share):
        path = tmp_path / f'a{suffix}'
        tensors = {'a': torch.randn(1000), 'b': torch.randn(1000)}
        safetensors.torch.save_file(tensors, path) if suffix == '.safetensors' else torch.save(tensors, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(UserError) as caught:
            read_checkpoint(path, 'here')
        assert caught.value.faults[0].where == 'here'
        assert str(path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize('content', [b'hello, world', b'<html>not found</html>', b'\x00' * 100])
    def test_a_file_of_something_else(self, tmp_path, content):
        (tmp_path / 'a.pth').write_bytes(content)
        with pytest.raises(UserError):
            read_checkpoint(tmp_path / 'a.pth', 'here')

    def test_a_list_is_no_checkpoint(self, tmp_path):
        torch.save([torch.ones(2)], tmp_path / 'a.pth')
        with pytest.raises(UserError, match=r'expected a dict of tensors, got .*a\.pth, which holds a list'):
            read_checkpoint(tmp_path / 'a.pth', 'here')

    def test_tensors_come_to_the_cpu(self, tmp_path, monkeypatch):
        seen = {}
        load = torch.load
        monkeypatch.setattr(torch, 'load', lambda *args, **kwargs: seen.update(kwargs) or load(*args, **kwargs))
        torch.save({}, tmp_path / 'a.pth')
        read_checkpoint(tmp_path / 'a.pth', 'here')
        assert seen == dict(map_location='cpu', weights_only=True)


class TestWeightsOf:
    @pytest.mark.parametrize(
        'checkpoint',
        [
            {'w': torch.ones(1)},
            {'state_dict': {'w': torch.ones(1)}, 'meta': {}},
            {'model': {'w': torch.ones(1)}, 'epoch': 3},
            {'state_dict': {'module.w': torch.ones(1)}},
            {
                'state_dict': {
                    'architecture.w': torch.ones(1),
                    'teacher.w': torch.zeros(1),
                    'distiller.c': torch.ones(2),
                }
            },
            {'state_dict': {'module.architecture.w': torch.ones(1), 'module.distiller.c': torch.ones(2)}},
            {'w': torch.ones(1), 'note': 'a plain value'},
        ],
    )
    def test_forms(self, checkpoint):
        assert weights_of(checkpoint) == {'w': torch.ones(1)}


class TestMisfit:
    def test_none(self):
        model, other = ToyClassifier(), ToyClassifier()
        assert describe_misfit(model, other.state_dict()) == ''
        assert torch.equal(model.conv1.weight, other.conv1.weight)

    def test_missing_unexpected_and_mis_shaped_are_counted_and_named(self):
        weights = dict(ToyClassifier().state_dict())
        del weights['fc.weight'], weights['fc.bias']
        weights['neck.weight'] = torch.ones(1)
        weights['conv1.weight'] = torch.ones(9, 3, 3, 3)
        misfit = describe_misfit(ToyClassifier(), weights)
        assert misfit.startswith('7 of 10 tensors that fit; ')
        assert '2 tensors of the model missing (fc.weight, fc.bias)' in misfit
        assert '1 tensors that the model does not have (neck.weight)' in misfit
        assert '1 tensors of another shape (conv1.weight:' in misfit
        assert '[9, 3, 3, 3]' in misfit
        assert '[4, 3, 3, 3]' in misfit
        assert '4 tensors of the model missing' not in misfit

    def test_what_fits_is_loaded_all_the_same(self):
        model = ToyClassifier()
        weights = {'fc.bias': torch.full((3,), 7.0), 'conv1.weight': torch.ones(1)}
        describe_misfit(model, weights)
        assert model.fc.bias.tolist() == [7, 7, 7]

    def test_a_name_that_begins_like_another_is_kept_apart(self):
        model = nn.ModuleDict({'a': nn.Linear(2, 2), 'ab': nn.Linear(2, 2)})
        weights = {**nn.ModuleDict({'a': nn.Linear(3, 2), 'ab': nn.Linear(2, 2)}).state_dict()}
        assert describe_misfit(model, weights).startswith(
            '3 of 4 tensors that fit; 1 tensors of another shape (a.weight:'
        )

    def test_long_lists_are_shortened(self):
        misfit = describe_misfit(ToyClassifier(), {})
        assert misfit.startswith('0 of 10 tensors that fit; 9 tensors of the model missing (')
        assert misfit.endswith(', …)')
        assert misfit.count(',') <= 4

    @pytest.mark.parametrize('dtype', [torch.int32, torch.bool, torch.complex64])
    def test_numbers_of_another_kind_are_not_taken(self, dtype):
        model = ToyClassifier()
        before = model.fc.bias.clone()
        weights = {**model.state_dict(), 'fc.bias': torch.ones(3, dtype=dtype)}
        misfit = describe_misfit(model, weights)
        assert misfit == f'9 of 10 tensors that fit; 1 tensors of another kind (fc.bias: {dtype} for torch.float32)'
        assert torch.equal(model.fc.bias, before)

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
    def test_numbers_of_another_width_are_taken(self, dtype):
        model = ToyClassifier()
        assert describe_misfit(model, {**model.state_dict(), 'fc.bias': torch.ones(3).to(dtype)}) == ''
        assert model.fc.bias.tolist() == [1, 1, 1]

    def test_what_is_no_tensor(self):
        weights = {**ToyClassifier().state_dict(), 'fc.bias': 'zero'}
        misfit = describe_misfit(ToyClassifier(), weights)
        assert misfit == '9 of 10 tensors that fit; 1 tensors of another kind (fc.bias: a str for a tensor)'

    def test_nan_is_no_weight_of_a_teacher(self, tmp_path):
        state = ToyClassifier().state_dict()
        state['fc.bias'][1] = float('nan')
        torch.save(state, tmp_path / 'a.pth')
        with pytest.raises(UserError, match=r'weights that are numbers, got .*NaN in 1 of them \(fc\.bias\)'):
            load_strictly(ToyClassifier(), tmp_path / 'a.pth', 'here')

    def test_load_strictly(self, tmp_path):
        torch.save({'state_dict': ToyClassifier(6).state_dict()}, tmp_path / 'a.pth')
        load_strictly(ToyClassifier(6), tmp_path / 'a.pth', 'here')
        with pytest.raises(UserError, match=r'^here: expected weights of this ToyClassifier, got .*tensors of another'):
            load_strictly(ToyClassifier(4), tmp_path / 'a.pth', 'here')


class TestAllowList:
    @pytest.mark.parametrize('fill', [[1.0, 2.0], [np.float64(1), 2.0], [1, 2]])
    def test_log_history_of_mmengine(self, tmp_path, fill):
        history = HistoryBuffer(max_length=10)
        for value in fill:
            history.update(value)
        torch.save({'message_hub': {'log_scalars': {'train/loss': history}}}, tmp_path / 'a.pth')
        loaded = torch.load(tmp_path / 'a.pth')['message_hub']['log_scalars']['train/loss']
        assert [float(value) for value in loaded.data[0]] == [float(value) for value in fill]
        assert loaded.mean() == pytest.approx(history.mean())
        assert loaded.statistics('current') == fill[-1]

    def test_scalars_of_numpy(self, tmp_path):
        torch.save({'runtime_info': {'lr': np.float64(0.1), 'iter': np.int64(3)}}, tmp_path / 'a.pth')
        assert torch.load(tmp_path / 'a.pth')['runtime_info'] == {'lr': 0.1, 'iter': 3}

    @pytest.mark.parametrize(
        ('owner', 'name'),
        [
            ('mmengine.logging.history_buffer\nHistoryBuffer', 'statistics'),
            ('mmengine.logging.history_buffer\nHistoryBuffer', 'update'),
            ('mmengine.logging.history_buffer\nHistoryBuffer', 'register_statistics'),
            ('mmengine.optim.scheduler.param_scheduler\nOneCycleParamScheduler', 'step'),
            ('numpy\nndarray', 'sum'),
            ('collections\nOrderedDict', 'mean'),
        ],
    )
    def test_another_getattr_is_refused(self, tmp_path, owner, name):
        self.write_getattr(tmp_path / 'a.pth', owner, name)
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / 'a.pth', weights_only=True)
        with pytest.raises(UserError, match='would run code'):
            read_checkpoint(tmp_path / 'a.pth', 'here')

    @pytest.mark.parametrize('name', ['min', 'max', 'current', 'mean'])
    def test_the_statistics_of_the_log_history_pass(self, tmp_path, name):
        self.write_getattr(tmp_path / 'a.pth', 'mmengine.logging.history_buffer\nHistoryBuffer', name)
        assert torch.load(tmp_path / 'a.pth', weights_only=True) == getattr(HistoryBuffer, name)

    @staticmethod
    def write_getattr(path, owner, name):
        """A pickle of ``getattr(owner, name)`` in a file of torch.save, opcode by opcode."""
        code = b'\x80\x02cbuiltins\ngetattr\nc' + owner.encode() + b'\nX'
        code += len(name).to_bytes(4, 'little') + name.encode() + b'\x86R.'
        torch.save(0, path)
        with zipfile.ZipFile(path) as archive:
            members = {entry: archive.read(entry) for entry in archive.namelist()}
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
            for entry, content in members.items():
                archive.writestr(entry, code if entry.endswith('data.pkl') else content)

    def test_the_general_getattr_stays_forbidden(self):
        allowed = torch.serialization.get_safe_globals()
        assert getattr not in allowed
        assert not {eval, exec, open, __import__} & {entry for entry in allowed if callable(entry)}


@pytest.mark.parametrize('dtype', ['float64', 'float32', 'float16', 'int64', 'int32', 'uint8', 'bool'])
def test_numbers_of_numpy_load(dtype, tmp_path):
    content = {'scalar': np.dtype(dtype).type(1), 'array': np.ones(3, dtype)}
    torch.save(content, tmp_path / 'a.pth')
    loaded = read_checkpoint(tmp_path / 'a.pth', 'here')
    assert loaded['scalar'] == content['scalar']
    assert loaded['array'].tolist() == content['array'].tolist()
