"""How tools begin; how they end is in the tests of each."""

import gc

from kd_plugins.engine.command_line import command


def test_what_a_tool_has_imported_is_left_out_of_garbage_collection_in_its_own_process_alone(monkeypatch):
    frozen = []
    monkeypatch.setattr(gc, 'freeze', lambda: frozen.append(True))

    @command
    def main(argv=None):
        pass

    assert main([]) == 0
    assert frozen == []
    assert main() == 0
    assert frozen == [True]
