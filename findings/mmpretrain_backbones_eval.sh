#!/usr/bin/env bash
# eval() of the backbones of mmpretrain returns None, where that of a torch module returns the module.
#
# Guess: `feature = ResNet(18).eval()(images)`, as the docs of torch write it, works with mmpretrain's backbones too.
# Seen with mmpretrain 1.2.0, torch 2.11.0: eval() calls train(False), which these backbones override to keep frozen
# stages in eval mode, without returning anything, as does their common base class. So `teacher = backbone.eval()` is None, and
# `backbone.eval().requires_grad_(False)` an AttributeError. A classifier around them returns itself, and of the eight
# backbones tried RIFormer alone does.
#
# Usage: bash findings/mmpretrain_backbones_eval.sh [python]; needs pip, and about 5 GB for PyTorch's libraries where
# that is a build for CUDA. Fails if the output changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${1:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check install -q torch==2.11.0 torchvision==0.26.0 numpy \
    'setuptools<81' opencv-python-headless mmengine==0.10.7 mmcv-lite==2.1.0 mmpretrain==1.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee "$folder/seen"
from mmpretrain.models import ImageClassifier, build_backbone

KINDS = {
    'ResNet': dict(depth=18),
    'MobileNetV2': {},
    'ConvNeXt': dict(arch='atto'),
    'SwinTransformer': dict(arch='tiny'),
    'EfficientNet': dict(arch='b0'),
    'RIFormer': dict(arch='s12', deploy=True),
    'VisionTransformer': dict(arch='deit-tiny'),
    'LeNet5': {},
}
for kind, arguments in KINDS.items():
    print(kind, type(build_backbone(dict(type=kind, **arguments)).eval()).__name__)
print('ImageClassifier', type(ImageClassifier(dict(type='ResNet', depth=18)).eval()).__name__)
PYTHON
diff "$folder/seen" - <<'EXPECTED'
ResNet NoneType
MobileNetV2 NoneType
ConvNeXt NoneType
SwinTransformer NoneType
EfficientNet NoneType
RIFormer RIFormer
VisionTransformer NoneType
LeNet5 NoneType
ImageClassifier ImageClassifier
EXPECTED
echo unchanged
