"""A small quantised classifier of digits, as built from a config and after a short training."""

import functools

import torch
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.datasets import Digits


def classifier_config(backbone, in_channels, head='kd_plugins.QuantLinearClsHead', **options):
    return dict(
        type='ImageClassifier',
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type=head, num_classes=10, in_channels=in_channels, **options),
        data_preprocessor=dict(
            type='ClsDataPreprocessor', num_classes=10, mean=[77.4] * 3, std=[82.2] * 3, to_rgb=False
        ),
    )


def student_config(weight_bits=4, bits=4, image_bits=8, head_bits=8):
    backbone = dict(
        type='kd_plugins.PlainCNN',
        stages=((8,), (16,)),
        conv_cfg=dict(type='kd_plugins.QuantConv2d', weight_bits=weight_bits, image_bits=image_bits),
        act_cfg=dict(type='kd_plugins.QuantReLU', bits=bits),
    )
    return classifier_config(backbone, 16, bits=head_bits)


def build(config, seed=0):
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(config)


@functools.cache
def digits(split):
    """Normalised images (N, 3, 8, 8) and labels (N) of a split."""
    dataset = Digits(split=split)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    images = torch.stack([torch.from_numpy(info['img']).permute(2, 0, 1) for info in infos])
    return (images.float() - 77.4) / 82.2, torch.tensor([info['gt_label'] for info in infos])


def trained(steps=60, **bits):
    """The student after a few steps on the training digits, in eval mode."""
    model = build(student_config(**bits))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    images, labels = digits('train')
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(len(images), (64,), generator=generator)
        loss = torch.nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def scores_of(model, split='test'):
    with torch.no_grad():
        return model.eval()(digits(split)[0])


def accuracy_of(scores, split='test'):
    return (scores.argmax(1) == digits(split)[1]).float().mean().item()
