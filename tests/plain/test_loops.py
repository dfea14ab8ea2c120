"""Distillers in the loops that people write: autocast, accumulation, torch.compile, several processes."""

import copy

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from nets import ResNet, batch, losses
from processes import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from kd_plugins import Distiller
from kd_plugins.errors import UserError

PROCESSES = 2


@pytest.fixture
def fresh_compiler():
    """As in a process that has compiled nothing yet."""
    with torch._dynamo.config.patch(skip_nnmodule_hook_guards=True):
        torch.compiler.reset()
        yield


def pair():
    torch.manual_seed(0)
    return ResNet(4), ResNet(6)


def backward(distiller, student, images, labels, share=1.0, compare=None):
    with distiller.record():
        task = F.cross_entropy(student(images), labels)
    found = (compare or distiller)(images)
    ((task + sum(found.values())) * share).backward()
    return found


def gradients(student, distiller):
    return {
        **{name: weight.grad.clone() for name, weight in student.named_parameters()},
        **{name: weight.grad.clone() for name, weight in distiller.named_parameters()},
    }


def test_a_loop_learns():
    (student, teacher), (images, labels) = pair(), batch(8)
    distiller = Distiller(student, teacher, losses(), sample=images)
    optimizer = torch.optim.SGD([*student.parameters(), *distiller.parameters()], lr=0.05, momentum=0.9)
    values = []
    for _ in range(12):
        optimizer.zero_grad()
        values.append(backward(distiller, student, images, labels)['loss_s2'].item())
        optimizer.step()
    assert values[-1] < values[0] / 2


def test_bfloat16_autocast():
    (student, teacher), (images, labels) = pair(), batch()
    distiller = Distiller(student, teacher, losses(), sample=images)
    plain = backward(distiller, student, images, labels)
    expected = gradients(student, distiller)
    for model in (student, distiller):
        model.zero_grad()
    with torch.autocast('cpu', torch.bfloat16), distiller.record():
        logits = student(images)
        task = F.cross_entropy(logits, labels)
    with torch.autocast('cpu', torch.bfloat16):
        found = distiller(images)
    (task + sum(found.values())).backward()

    assert logits.dtype == torch.bfloat16
    for name, loss in found.items():
        assert loss.dtype == torch.float32
        assert_close(loss, plain[name], rtol=0.1, atol=0.02)
    for name, gradient in gradients(student, distiller).items():
        assert gradient.dtype == torch.float32
        assert F.cosine_similarity(gradient.flatten(), expected[name].flatten(), dim=0) > 0.9 or gradient.norm() < 0.05


def test_a_student_in_double_precision_has_connectors_in_double_precision():
    (student, teacher), (images, labels) = pair(), batch()
    student, teacher, images = student.double(), teacher.double(), images.double()
    distiller = Distiller(student, teacher, losses(), sample=images)
    assert {weight.dtype for weight in distiller.parameters()} == {torch.float64}
    backward(distiller, student, images, labels)


def test_accumulated_gradients_are_those_of_the_whole_batch():
    (student, teacher), (images, labels) = pair(), batch(8)
    student.eval()  # BatchNorm would see other statistics
    distiller = Distiller(student, teacher, losses(), sample=images)
    backward(distiller, student, images, labels)
    expected = gradients(student, distiller)
    for model in (student, distiller):
        model.zero_grad()
    for part in (slice(0, 4), slice(4, 8)):
        backward(distiller, student, images[part], labels[part], share=0.5)
    for name, gradient in gradients(student, distiller).items():
        assert_close(gradient, expected[name], msg=name)


def compiled_after(student, build):
    distiller = build(student)
    return torch.compile(student, backend='aot_eager'), distiller


def compiled_before(student, build):
    compiled = torch.compile(student, backend='aot_eager')
    return compiled, build(compiled)


def compiled_in_place(student, build):
    student.compile(backend='aot_eager')
    return student, build(student)


@pytest.mark.parametrize('how', [compiled_after, compiled_before, compiled_in_place])
def test_a_compiled_student(how, fresh_compiler):
    (student, teacher), (images, labels) = pair(), batch()
    plain = copy.deepcopy(student)
    reference = Distiller(plain, copy.deepcopy(teacher), losses(), sample=images)
    called, distiller = how(student, lambda model: Distiller(model, teacher, losses(), sample=images))
    distiller.load_state_dict(reference.state_dict())
    for _ in range(2):
        expected = backward(reference, plain, images, labels)
        found = backward(distiller, called, images, labels)
        with torch.no_grad():
            called(images)  # outside of record
        for name, loss in found.items():
            assert_close(loss, expected[name])
    theirs = gradients(plain, reference)
    for name, gradient in gradients(student, distiller).items():
        assert_close(gradient, theirs[name], msg=name, rtol=1e-4, atol=1e-4)


def test_a_compiled_student_that_ran_before(fresh_compiler):
    (student, teacher), (images, labels) = pair(), batch()
    compiled = torch.compile(student, backend='aot_eager')
    compiled(images)
    distiller = Distiller(student, teacher, losses(), sample=images)
    with pytest.raises(UserError, match=r'recorded forward of the student, got none; .* torch\.compiler\.reset'):
        backward(distiller, compiled, images, labels)
    torch.compiler.reset()
    backward(distiller, compiled, images, labels)


def test_a_second_distiller_of_a_compiled_student(fresh_compiler):
    (student, teacher), (images, labels) = pair(), batch()
    compiled = torch.compile(student, backend='aot_eager')
    for source in ('layer1', 'layer2'):
        config = dict(loss_one=dict(type='L2Loss', student=source, teacher=source, connector='auto'))
        with Distiller(student, teacher, config, sample=images) as distiller:
            assert backward(distiller, compiled, images, labels)['loss_one'].isfinite()
        compiled(images)


def train_in_one_of_several(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', f'file://{folder}/meeting', rank=rank, world_size=PROCESSES)
    (student, teacher), (images, labels) = pair(), batch(8)
    student.eval()
    torch.manual_seed(rank)  # connectors differ at first
    wrapped = DistributedDataParallel(student)
    # sources have the names of the bare student's modules either way
    distiller = Distiller(wrapped if rank else student, teacher, losses(), sample=images)
    compare = DistributedDataParallel(distiller)
    state = copy.deepcopy(distiller.state_dict())
    own = slice(rank * 4, rank * 4 + 4)
    backward(distiller, wrapped, images[own], labels[own], compare=compare)
    whole = gradients(student, distiller)
    for model in (student, distiller):
        model.zero_grad()
    # two halves of what this process has, of which the second sends
    first, second = slice(own.start, own.start + 2), slice(own.start + 2, own.stop)
    with wrapped.no_sync(), compare.no_sync():
        backward(distiller, wrapped, images[first], labels[first], 0.5, compare)
    backward(distiller, wrapped, images[second], labels[second], 0.5, compare)
    torch.save(dict(state=state, whole=whole, halves=gradients(student, distiller)), f'{folder}/rank_{rank}.pth')
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_the_whole_batch(tmp_path):
    spawn(train_in_one_of_several, (str(tmp_path),), PROCESSES)
    ranks = [torch.load(tmp_path / f'rank_{rank}.pth') for rank in range(PROCESSES)]

    (student, teacher), (images, labels) = pair(), batch(8)
    student.eval()
    distiller = Distiller(student, teacher, losses(), sample=images)
    distiller.load_state_dict(ranks[0]['state'])
    backward(distiller, student, images, labels)
    expected = gradients(student, distiller)
    assert any(name.startswith('connectors.') for name in expected)
    for found in ranks:
        for name, gradient in expected.items():
            assert_close(found['whole'][name], gradient, msg=name)
            assert_close(found['halves'][name], gradient, msg=name)
