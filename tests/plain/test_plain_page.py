"""The loop of docs/plain_pytorch.md runs as it stands, and learns."""

import re
from pathlib import Path

from toy import count_hooks

PAGE = Path(__file__).parents[2] / 'docs' / 'plain_pytorch.md'


def test_the_loop_of_the_page():
    script = re.findall(r'^```python\n(.*?)^```', PAGE.read_text(), re.S | re.M)[0]
    names: dict = {}
    exec(script, names)
    assert names['accuracy'] > 0.9
    assert count_hooks(names['student']) == 0
