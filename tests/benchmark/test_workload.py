"""What all arms share: weights, images, optimiser."""

from pathlib import Path

import pytest
import torch

from kd_plugins.benchmark.setting import Setting
from kd_plugins.benchmark.workload import LEARNING_RATE, Workload, usual_size
from kd_plugins.errors import UserError

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_the_batch_is_the_config_s_own(digits):
    batch = digits.batch()
    assert batch['inputs'].shape == (4, 3, 8, 8)
    assert batch['inputs'].dtype == torch.uint8
    assert [int(sample.gt_label) for sample in batch['data_samples']] == [0, 1, 2, 3] == digits.labels().tolist()
    again = digits.batch()
    assert torch.equal(batch['inputs'], again['inputs'])
    # what an arm writes into its samples is its own
    assert batch['data_samples'][0] is not again['data_samples'][0]


def test_all_models_have_the_same_weights(digits):
    ours = digits.algorithm()
    for model, plain in ((ours.student, digits.student()), (ours.teacher, digits.teacher())):
        assert model.state_dict().keys() == plain.state_dict().keys()
        assert all(torch.equal(value, plain.state_dict()[key]) for key, value in model.state_dict().items())
    assert digits.student().training
    assert not digits.teacher().training


def test_the_teacher_looks_trained(digits):
    """Logits that are apart, and statistics that fit the images: activations neither fade nor grow."""
    teacher = digits.teacher()
    images = digits.normalisation()(digits.batch()['inputs'])
    maps = []
    for module in teacher.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda _, __, output: maps.append(output.std().item()))
    with torch.no_grad():
        logits = teacher(images)
    assert maps
    assert all(0.5 < deviation < 2 for deviation in maps)
    assert logits.std() > 0.5


def test_normalisation_by_hand_is_that_of_the_preprocessor(digits):
    batch = digits.batch()
    expected = digits.preprocessor()(digits.batch(), True)['inputs']
    assert torch.allclose(digits.normalisation()(batch['inputs']), expected)
    # by hand: (pixel - 77.4) / 82.2, as the config of the digits says
    assert expected[0, 0, 0, 0].item() == pytest.approx((int(batch['inputs'][0, 0, 0, 0]) - 77.4) / 82.2, rel=1e-5)


def test_swapped_channels(digits):
    swapped = Workload(digits.path, digits.setting, {'data_preprocessor.to_rgb': True})
    assert swapped.preprocessor().to_rgb
    expected = swapped.preprocessor()(swapped.batch(), True)['inputs']
    assert torch.allclose(swapped.normalisation()(swapped.batch()['inputs']), expected)
    assert not torch.allclose(expected, digits.preprocessor()(digits.batch(), True)['inputs'])


def test_the_optimiser_is_the_config_s(digits):
    """AdamW of the digits, in ours and in plain loops, with a rate that leaves the weights where they are."""
    student = digits.student()
    plain, ours = digits.optimizer(student.parameters()), digits.optim_wrapper(digits.algorithm()).optimizer
    assert type(plain) is type(ours) is torch.optim.AdamW
    for group in (*plain.param_groups, *ours.param_groups):
        assert group['lr'] == LEARNING_RATE
        assert (group['weight_decay'], group['fused']) == (0.05, True)


@pytest.mark.parametrize(
    ('config', 'size'), [('quickstart/kd_vgg_cnn_digits.py', 8), ('kd/kd_logits_resnet50_resnet18_8xb32_in1k.py', 224)]
)
def test_usual_size(config, size):
    assert usual_size(str(CONFIGS / config)) == size


def test_a_model_without_a_distiller_is_refused():
    with pytest.raises(UserError, match='a distillation'):
        Workload(str(CONFIGS / 'quickstart/student_cnn_digits.py'), Setting(2, 8))
