"""The head of DeiT whose distillation token learns from a teacher."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.models.heads import DeiTClsHead as MMPretrainDeiTClsHead
from torch import Tensor

from kd_plugins.registry import MODELS


@MODELS.register_module()
class DeiTClsHead(MMPretrainDeiTClsHead):
    """Scores of the class token alone; a recorder taps those of the distillation token, ``head.layers.head_dist``.

    mmpretrain's head averages both, and says that it cannot train a distilled DeiT: the labels would train what the
    teacher is to train. Weights have the same names, so that a trained student is mmpretrain's for prediction, too.

    Paper: Training data-efficient image transformers & distillation through attention,
    https://arxiv.org/abs/2012.12877

    Args:
        num_classes: Number of classes.
        in_channels: Size of a token.
        hidden_dim: Size of a hidden layer before both classifiers; none by default.
        act_cfg: Activation of the hidden layer.
        init_cfg: Weight initialisation; both classifiers start at zero by default.
        kwargs: Arguments of mmpretrain's ``ClsHead``: loss, topk, cal_acc.

    Shape:
        The last stage's tokens, class token and distillation token of (N, in_channels) each -> (N, num_classes).
    """

    def forward(self, feats: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return the scores of the class token, and compute those of the distillation token beside them."""
        class_token, distillation_token = self.pre_logits(feats)
        self.layers.head_dist(distillation_token)
        return self.layers.head(class_token)
