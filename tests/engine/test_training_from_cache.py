"""A training from a cache is that of the teacher live, on the same pixels."""

import time

import pytest
from cached import CONFIGS, digits_config, train_watched, write_cache

from kd_plugins.engine.cache_config import wrap_training_data
from kd_plugins.engine.cache_plan import CacheOptions
from kd_plugins.errors import UserError

VIEWS = 2


def compare(folder, two_epochs, **options):
    """Two epochs live and two from a cache; returns seconds of both."""
    cache = write_cache(folder, digits_config(folder, **options), CacheOptions(views=VIEWS, dtype='float32'))
    live = digits_config(folder, **options, **two_epochs)
    wrap_training_data(live, views=VIEWS, seed=0)
    start = time.perf_counter()
    expected = train_watched(live)
    middle = time.perf_counter()
    cached = train_watched(digits_config(folder, model__teacher_cache=str(cache), **options, **two_epochs))
    seconds = middle - start, time.perf_counter() - middle

    assert cached.rows == expected.rows
    images = options.get('train_dataloader__dataset__num_images', 40)
    seen = [row for rows in cached.rows for row in rows]
    assert sorted(seen) == list(range(VIEWS * images))
    assert max(seen[:images]) < images <= min(seen[images:])
    assert len(cached.losses) == len(expected.losses) > 2
    for step, (ours, theirs) in enumerate(zip(cached.losses, expected.losses, strict=True)):
        assert any(name.startswith('distill.') for name in ours)
        assert ours == pytest.approx(theirs, rel=1e-5), step
    return seconds


@pytest.mark.slow
def test_two_epochs_of_the_quickstart(tmp_path):
    compare(tmp_path, dict(train_cfg__max_iters=8))


@pytest.mark.slow
def test_two_epochs_of_the_logits_of_several_teachers(tmp_path):
    # three teachers averaged by their weights, and one of them alone, whose loss carries its weight
    distiller = dict(
        loss_one=dict(type='L1Loss', student='head.fc', teacher='seed1.head.fc'),
        loss_all=dict(
            type='KLDivergence', tau=4, student='head.fc', teacher=dict(type='AveragedLogits', source='head.fc', tau=4)
        ),
    )
    options = dict(
        path=CONFIGS / 'methods' / 'multi_teacher_vgg_cnn_digits.py',
        model__distiller__distill_losses=dict(_delete_=True, **distiller),
        model__teachers__seed1__weight=3.0,
        model__teachers__seed2__data_preprocessor=dict(mean=[10.0], std=[20.0]),
    )
    compare(tmp_path, dict(train_cfg__max_iters=8), **options)

    other = digits_config(tmp_path, model__teacher_cache=str(tmp_path / 'cache'), **options)
    other.model.teachers.seed2.data_preprocessor.std = [30.0]
    other.model.teachers.seed1.weight = 2.0
    with pytest.raises(UserError) as caught:
        train_watched(other)
    # the weight is in the average, and is none of what one teacher says
    assert 'model.teacher_cache (preprocessing: teachers.seed2.scale.0)' in str(caught.value)
    assert str(caught.value).count('model.teacher_cache (records)') == 1
    assert "'weights': {'seed0': 1.0, 'seed1': 2.0, 'seed2': 1.0}" in str(caught.value)


@pytest.mark.slow
def test_two_epochs_of_features_and_logits(tmp_path):
    options = dict(
        path=CONFIGS / 'fitnets_resnet50_resnet18_digits.py',
        train_dataloader__dataset__num_images=100,
        train_dataloader__batch_size=25,
    )
    seconds = compare(tmp_path, dict(train_cfg__max_epochs=2), **options)
    print(f'live {seconds[0]:.1f} s, from the cache {seconds[1]:.1f} s')
