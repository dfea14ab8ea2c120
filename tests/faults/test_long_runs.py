"""Three thousand steps: memory, open files and hooks are what they were after the first few hundred."""

import json

import pytest
from tool_process import run_tool
from trainings import write_config

STEPS, WARM = 3000, 500
# of the process, for what the allocator rounds up; a leak of one float per step and feature map would be more
SLACK_MIB = 8
WITNESS = """
import json
import os
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

PAGE = os.sysconf('SC_PAGE_SIZE')


@HOOKS.register_module()
class ResourceHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (runner.iter + 1) % 500:
            return
        modules = [*runner.model.modules(), *runner.model.teacher.modules()]
        hooks = sum(len(value) for module in modules for name, value in vars(module).items() if name.endswith('_hooks'))
        resident = int(Path('/proc/self/statm').read_text().split()[1]) * PAGE / 2**20
        noted = dict(step=runner.iter + 1, mib=resident, files=len(os.listdir('/proc/self/fd')), hooks=hooks)
        with open('resources.jsonl', 'a') as file:
            print(json.dumps(noted), file=file)
"""


@pytest.mark.slow
def test_nothing_grows(tmp_path):
    (tmp_path / 'witness.py').write_text(WITNESS)
    config = write_config(
        tmp_path,
        f'train_cfg = dict(max_iters={STEPS}, val_interval=1000)\n'
        "train_dataloader = dict(batch_size=8)\ncustom_imports = dict(imports=['witness'])\n"
        "custom_hooks = [dict(type='ResourceHook')]\n"
        'default_hooks = dict(checkpoint=dict(interval=1000))\n',
    )
    done = run_tool('train', config, '--work-dir', 'run', folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.status == 0, done.stderr
    noted = [json.loads(line) for line in (tmp_path / 'resources.jsonl').read_text().splitlines()]
    assert [entry['step'] for entry in noted] == list(range(WARM, STEPS + 1, WARM))
    # after a validation and a checkpoint
    first, last = noted[2], noted[-1]
    print(f'after {first["step"]} and {last["step"]} steps: {first} {last}')
    assert last['hooks'] == first['hooks']
    assert last['files'] == first['files']
    assert last['mib'] <= first['mib'] + SLACK_MIB
    assert sum(path.stat().st_size for path in (tmp_path / 'run').rglob('*.log')) < 2**20
