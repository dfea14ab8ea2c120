import pytest
import torch

from kd_plugins.distiller.spec import RecordSpec
from kd_plugins.errors import UserError


class TestPick:
    def test_chooses_the_call_and_the_element(self):
        records = [(1, 2), (3, 4)]
        assert RecordSpec('r', True).pick(records[:1]) == (1, 2)
        assert RecordSpec('r', True, 1).pick(records) == (3, 4)
        assert RecordSpec('r', True, -1, 1).pick(records) == 4
        assert RecordSpec('r', True, 0, 0).pick([[5, 6]]) == 5

    @pytest.mark.parametrize(
        ('calls', 'index', 'said', 'advice'),
        [
            (0, 0, 'ran not once in this forward', 'choose a source that the forward runs'),
            (1, 1, 'ran once in this forward', 'use a record_idx from 0 to 0'),
            (2, 2, 'ran twice in this forward', 'use a record_idx from 0 to 1'),
            (3, -4, 'ran 3 times in this forward', 'use a record_idx from 0 to 2'),
        ],
    )
    def test_a_wrong_record_idx_says_how_often_the_source_ran(self, calls, index, said, advice):
        with pytest.raises(UserError) as caught:
            RecordSpec('layer4', True, index).pick([torch.zeros(1)] * calls)
        message = str(caught.value)
        assert "expected a call of 'layer4' that happened" in message
        assert f'record_idx={index}' in message
        assert said in message
        assert advice in message

    def test_one_of_several_calls_must_be_chosen(self):
        with pytest.raises(UserError) as caught:
            RecordSpec('layer4', True).pick([torch.zeros(1)] * 3)
        (fault,) = caught.value.faults
        assert fault.where == 'record_idx'
        assert fault.expected == "the number of one of the 3 calls of the source of 'layer4'"
        assert 'record_idx=0 to record_idx=2' in fault.advice

    def test_a_source_that_never_ran(self):
        with pytest.raises(UserError, match='got its source ran not once'):
            RecordSpec('layer4', True).pick([])

    @pytest.mark.parametrize(
        ('record', 'said'),
        [
            (torch.zeros(3), 'data_idx=2 of a Tensor without elements to choose'),
            ((1, 2), 'data_idx=2 of a tuple with 2 elements'),
            ([], 'data_idx=2 of a list with 0 elements'),
        ],
    )
    def test_a_wrong_data_idx_says_what_there_is(self, record, said):
        with pytest.raises(UserError, match=said):
            RecordSpec('layer4', True, 0, 2).pick([record])

    @pytest.mark.parametrize(
        ('connected', 'said'),
        [
            (torch.zeros(3), 'connector_idx=2 of a Tensor without elements to choose'),
            ((1, 2), 'connector_idx=2 of a tuple with 2 elements'),
        ],
    )
    def test_a_wrong_connector_idx_says_what_there_is(self, connected, said):
        with pytest.raises(UserError, match=f"what the connector of 'layer4' returns, got {said}"):
            RecordSpec('layer4', True, connector='a', connector_idx=2).pick_connected(connected)
