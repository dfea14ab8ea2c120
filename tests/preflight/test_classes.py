"""Heads of different numbers of classes are named, wherever a library keeps its heads."""

import pytest
from mmengine.config import Config
from torch import nn
from toy import ToyClassifier, algorithm_config, logits_only

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.preflight.models import model_warnings


def headed(place, *classes):
    """A model with a head at a place, or a cascade of heads there."""
    heads = nn.ModuleList(nn.Identity() for _ in classes)
    for head, count in zip(heads, classes, strict=True):
        head.num_classes = count
    model = around = ToyClassifier()
    *owners, name = place.split('.')
    for owner in owners:
        around.add_module(owner, nn.Identity())
        around = around.get_submodule(owner)
    around.add_module(name, heads if len(heads) > 1 else heads[0])
    return model


def warnings(student, teacher):
    algorithm = SingleTeacherDistill(**algorithm_config(architecture=student, teacher=teacher, distiller=logits_only()))
    return model_warnings(Config(dict(model=dict(teacher=dict(cfg_path='a', pretrained=True)))), algorithm)


@pytest.mark.parametrize('place', ['head', 'bbox_head', 'roi_head.bbox_head', 'decode_head'])
@pytest.mark.parametrize('cascade', [1, 3])
def test_heads_of_different_classes(place, cascade):
    # what is no number of classes does not count
    (warning,) = warnings(headed(place, *[3] * cascade), headed(place, *[None] * (cascade - 1), 80))
    assert warning.where == 'model.teacher'
    assert warning.got == '80 classes of the teacher and 3 of the student'
    assert warnings(headed(place, *[80] * cascade), headed(place, 80)) == []


def test_heads_of_two_kinds():
    (warning,) = warnings(headed('bbox_head', 3), headed('roi_head.bbox_head', 80, 80))
    assert warning.got == '80 classes of the teacher and 3 of the student'


def test_models_without_heads_are_not_compared():
    assert warnings(ToyClassifier(), headed('bbox_head', 80)) == []
