"""The head of DeiT: the class token answers, the distillation token is there for a recorder."""

import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.models.heads import DeiTClsHead as MMPretrainDeiTClsHead

from kd_plugins.models import DeiTClsHead


def head_and_tokens(**options):
    torch.manual_seed(0)
    head = MODELS.build(dict(type='kd_plugins.DeiTClsHead', num_classes=5, in_channels=4, init_cfg=None, **options))
    return head, (torch.rand(2, 4), torch.rand(2, 4))


@pytest.mark.parametrize('training', [True, False])
def test_scores_are_those_of_the_class_token(training, recwarn):
    head, tokens = head_and_tokens()
    assert type(head) is DeiTClsHead
    recorded = []
    head.layers.head_dist.register_forward_hook(lambda module, inputs, output: recorded.append(output))
    scores = head.train(training)((tokens,))
    torch.testing.assert_close(scores, head.layers.head(tokens[0]))
    assert len(recorded) == 1
    torch.testing.assert_close(recorded[0], head.layers.head_dist(tokens[1]))
    assert not recwarn.list


def test_tokens_may_come_after_a_feature_map():
    head, tokens = head_and_tokens()
    torch.testing.assert_close(head(((torch.rand(2, 4, 3, 3), *tokens),)), head.layers.head(tokens[0]))


def test_hidden_layer():
    head, tokens = head_and_tokens(hidden_dim=3)
    hidden = head.layers.pre_logits(tokens[0]).tanh()
    torch.testing.assert_close(head((tokens,)), head.layers.head(hidden))


def test_the_labels_train_the_class_token_alone():
    head, tokens = head_and_tokens()
    head((tokens,)).sum().backward()
    assert head.layers.head.weight.grad is not None
    assert head.layers.head_dist.weight.grad is None


def test_a_trained_student_is_mmpretrains():
    head, _ = head_and_tokens()
    MMPretrainDeiTClsHead(num_classes=5, in_channels=4).load_state_dict(head.state_dict())
