#!/usr/bin/env bash
# What torch.utils.flop_counter.FlopCounterMode leaves out and counts too often.
#
# Guess: the counts of F.scaled_dot_product_attention do not depend on the device, and the two gradients of a
# convolution cost as much as its forward each, grouped or not.
# Seen with torch 2.13.0 on a CPU (2.11.0 gives the same numbers):
#   attention on a CPU: forward 0, backward 0 (the same two products written out: 3840000, 7680000)
#   convolution of 64 channels in 1 group: forward 37748736, backward 75497472, 2 times the forward
#   convolution of 64 channels in 64 groups: forward 589824, backward 38338560, 65 times the forward
# So a vision transformer looks cheaper on a CPU than it is, and a depthwise network trains at many times its cost.
#
# Usage: bash findings/torch_flop_counter.sh [python]; needs pip. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${1:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check install -q torch==2.13.0 numpy
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode


def count(run):
    with FlopCounterMode(display=False) as counter:
        result = run()
    return result, counter.get_total_flops()


query = torch.rand(2, 3, 50, 64, requires_grad=True)
fused, fused_forward = count(lambda: F.scaled_dot_product_attention(query, query, query))
plain, plain_forward = count(lambda: (query @ query.transpose(-1, -2) / 8).softmax(-1) @ query)
assert torch.allclose(fused, plain, atol=1e-5)
_, fused_backward = count(lambda: fused.sum().backward())
_, plain_backward = count(lambda: plain.sum().backward())
print(
    f'attention on a CPU: forward {fused_forward}, backward {fused_backward} '
    f'(the same two products written out: {plain_forward}, {plain_backward})'
)
for groups in (1, 64):
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, groups=groups)
    images = torch.rand(2, 64, 16, 16, requires_grad=True)
    output, forward = count(lambda: layer(images))
    _, backward = count(lambda: output.sum().backward())
    print(
        f'convolution of 64 channels in {groups} group{"s" if groups > 1 else ""}: forward {forward}, '
        f'backward {backward}, {backward // forward} times the forward'
    )
PYTHON
diff "$folder/seen" - <<'EXPECTED'
attention on a CPU: forward 0, backward 0 (the same two products written out: 3840000, 7680000)
convolution of 64 channels in 1 group: forward 37748736, backward 75497472, 2 times the forward
convolution of 64 channels in 64 groups: forward 589824, backward 38338560, 65 times the forward
EXPECTED
echo unchanged
