"""Every component gives mmrazor's numbers on the same weights and inputs; tools/parity.py shows them as a table."""

import pytest

pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')

import torch

from kd_plugins.compat.parity import CASES
from tools import parity

# in float32 the two computations round differently
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}
AGREEING = [case for case in CASES if not case.differs]
DIFFERING = [case for case in CASES if case.differs]


@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
@pytest.mark.parametrize('case', AGREEING, ids=str)
# torch announces that 'mean' of kl_div will change, which is why our own does not use it
@pytest.mark.filterwarnings('ignore')
def test_same_numbers(case, dtype):
    difference = case.measure(dtype)
    assert difference.value < TOLERANCE[dtype]
    assert difference.gradient < TOLERANCE[dtype]


@pytest.mark.parametrize('case', DIFFERING, ids=str)
@pytest.mark.filterwarnings('ignore')
def test_other_numbers_on_purpose(case):
    assert case.why
    difference = case.measure(torch.float64)
    assert max(difference.value, difference.gradient) > TOLERANCE[torch.float64]


def test_the_table(tmp_path, capsys, monkeypatch):
    few = [case for case in CASES if case.component in ('L2Loss', 'Paraphraser')]
    monkeypatch.setattr('kd_plugins.compat.parity.CASES', few)
    assert parity.main(['--out', str(tmp_path / 'parity.md')]) == 0
    printed, written = capsys.readouterr().out, (tmp_path / 'parity.md').read_text()
    for name in ('L2Loss', 'Paraphraser'):
        assert name in printed
        assert f'| {name} | mmrazor |' in written
    assert '- **Paraphraser**: ' in written
