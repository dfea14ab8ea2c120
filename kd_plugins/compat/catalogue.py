"""MMRazor's distillation configs for classification, and what each of them asks for."""

from __future__ import annotations

from pathlib import Path

from mmengine.utils import get_installed_path

# below CONFIGS; what a user has to know beyond the data set, and a teacher's weights that are downloaded
MMCLS_CONFIGS: dict[str, str] = {
    'abloss/abloss_logits_resnet50_resnet18_8xb32_in1k.py': 'begins with the checkpoint of abloss_pretrain',
    'abloss/abloss_pretrain_backbone_resnet50_resnet18_8xb32_in1k.py': '',
    'byot/byot_resnet18_8xb16_cifar100.py': 'pooled features are flattened; validates on the test split',
    'crd/crd_neck_r50_r18_8xb16_cifar10.py': 'validates on the test split; expects the teacher in the working folder',
    'dafl/dafl_logits_resnet34_resnet18_8xb256_cifar10.py': '',
    'deit/deit-base_regnety160_pt-16xb64_in1k.py': "RegNetY-160 is ours, with timm's weights; timm is not needed",
    'dfad/dfad_logits_resnet34_resnet18_8xb32_cifar10.py': '',
    'dist/dist_logits_resnet34_resnet18_8xb32_in1k.py': '',
    'dkd/dkd_resnet34_resnet18_8xb32_in1k.py': (
        "sums over the batch, 32 times the authors' weight; ours of that name is theirs, `dkd-sum_…` is MMRazor's"
    ),
    'factor_transfer/factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_pretrain.py': '',
    'factor_transfer/factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_train.py': (
        'begins with a checkpoint of the pretraining, which is downloaded'
    ),
    'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py': '',
    'kd/kd_logits_resnet34_resnet18_8xb32_in1k.py': '',
    'kd/kd_logits_resnet50_mobilenet-v2_8xb32_in1k.py': '',
    'kd/kd_logits_resnet50_shufflenet-v2-1x_16xb64_in1k.py': '',
    'ofd/ofd_backbone_resnet50_resnet18_8xb16_cifar10.py': 'WideResNet comes from the installed package mmrazor',
    'rkd/rkd_neck_resnet34_resnet18_8xb32_in1k.py': '',
    'wsld/wsld_logits_resnet34_resnet18_8xb32_in1k.py': '',
    'zskt/zskt_backbone_logits_resnet34_resnet18_8xb16_cifar10.py': '',
}


def mmcls_folder() -> Path:
    """Where the installed mmrazor keeps the configs."""
    return Path(get_installed_path('mmrazor')) / '.mim' / 'configs' / 'distill' / 'mmcls'
