"""Which runs belong together, and which are held against which."""

import dataclasses

import pytest
from made_results import made_result, swept

from kd_plugins.report.arms import BASELINE, MAIN, SAME_COMPUTE, arms_of, compare


def test_a_sweep():
    arms = arms_of(swept())
    assert [(arm.kind, arm.name, sorted(arm.results)) for arm in arms] == [
        (BASELINE, 'alone, same epochs', [0, 1, 2]),
        (SAME_COMPUTE, 'alone, same compute', [0, 1, 2]),
        (MAIN, 'distilled, tau=2', [0, 1, 2]),
        (MAIN, 'distilled, tau=4', [0, 1, 2]),
    ]
    found = compare(arms)
    assert [(one.arm.options['tau'], one.condition, round(one.gain.mean, 2), one.gain.verdict) for one in found] == [
        (2, 'at equal epochs', 1.01, 'helps'),
        (2, 'at equal compute', -0.49, 'hurts'),
        (4, 'at equal epochs', 2.01, 'helps'),
        (4, 'at equal compute', 0.51, 'helps'),
    ]
    assert all(not one.differences for one in found)
    assert found[0].sentence.startswith('Distillation, tau=2 helps at equal epochs: +1.01 points')


def test_a_baseline_of_some_options_belongs_to_those_alone():
    results = [
        made_result(91, options={'lr': 1, 'tau': 2}, fingerprint='m1'),
        made_result(95, options={'lr': 2, 'tau': 2}, fingerprint='m2'),
        made_result(90, arm=BASELINE, options={'lr': 1}, teacher=None, fingerprint='b1'),
        made_result(92, arm=BASELINE, options={'lr': 2}, teacher=None, fingerprint='b2'),
    ]
    assert [(one.arm.options['lr'], one.gain.mean) for one in compare(arms_of(results))] == [(1, 1.0), (2, 3.0)]


def test_runs_that_no_sweep_made():
    longer = dict(made_result().training, iterations=70, epochs=17.5)
    free = dict(sweep=None)
    results = [
        made_result(91, fingerprint='d', **free),
        made_result(90, teacher=None, fingerprint='s', **free),
        made_result(90.5, teacher=None, fingerprint='l', training=longer, **free),
        made_result(99, teacher=None, fingerprint='t', student=dict(made_result().student, parameters=9000), **free),
    ]
    arms = arms_of(results)
    assert [arm.kind for arm in arms] == [BASELINE, SAME_COMPUTE, MAIN, MAIN]
    # 70 steps cost 1.75 times what 40 of the same time do: nothing is said to be equal
    assert [(one.condition, one.gain.mean) for one in compare(arms)] == [
        ('at equal epochs', 1.0),
        ('against 1.8 times its compute', 0.5),
    ]
    assert [arm.name for arm in arms[:2]] == ['alone, same epochs', 'alone, trained longer']
    # the other student is held against nothing
    assert arms[-1].first.score == 99


def trained(epochs, batch_size=25):
    iterations = epochs * 100 // batch_size
    return dict(made_result().training, epochs=epochs, iterations=iterations, batch_size=batch_size)


@pytest.mark.parametrize('sweep', [None, 's'])
def test_a_shorter_training_is_not_one_of_equal_epochs(sweep):
    results = [
        made_result(
            score + seed, seed=seed, fingerprint=name, sweep=sweep, training=trained(epochs), teacher=teacher, arm=arm
        )
        for seed in range(3)
        for name, score, epochs, teacher, arm in (
            ('d', 91, 10, 99.0, MAIN),
            ('s', 90, 5, None, BASELINE if sweep else MAIN),
        )
    ]
    (found,) = compare(arms_of(results))
    assert (found.against.kind, found.against.name) == (BASELINE, 'alone, 5 epochs')
    assert found.condition == 'with 10 epochs against 5'
    assert found.sentence.startswith('Distillation helps with 10 epochs against 5: +1.00 points')


def test_epochs_are_compared_and_not_iterations():
    results = [
        made_result(91, fingerprint='d', sweep=None, training=trained(10)),
        # a smaller batch: five times the iterations
        made_result(90, teacher=None, fingerprint='s', sweep=None, training=trained(10, batch_size=5)),
    ]
    (found,) = compare(arms_of(results))
    assert (found.condition, found.against.name) == ('at equal epochs', 'alone, same epochs')


def test_a_training_between_two_is_named_by_its_epochs():
    results = [
        made_result(91, fingerprint='d1', sweep=None, training=trained(4)),
        made_result(92, fingerprint='d2', sweep=None, training=trained(20)),
        made_result(90, teacher=None, fingerprint='s', sweep=None, training=trained(10)),
    ]
    found = compare(arms_of(results))
    assert {one.against.name for one in found} == {'alone, 10 epochs'}
    assert [one.condition for one in found] == ['with 4 epochs against 10', 'with 20 epochs against 10']


def test_shares_are_shown_in_percent():
    def run(share, teacher_share=0.5, **changes):
        return made_result(
            metrics={'coco/bbox_mAP': share}, teacher_metrics={'coco/bbox_mAP': teacher_share}, **changes
        )

    results = [run(0.374 + 0.001 * seed, seed=seed) for seed in range(3)]
    results += [run(0.37, seed=seed, arm=BASELINE, teacher=None, fingerprint='b') for seed in range(3)]
    arms = arms_of(results)
    (found,) = compare(arms)
    assert found.sentence == 'Distillation helps at equal epochs: +0.50 points (95 % interval +0.25 to +0.75, 3 seeds).'
    assert (arms[1].metric, arms[1].teacher_score) == ('coco/bbox_mAP × 100', 50.0)
    # what a run left stays as it is
    assert results[0].score == 0.374
    # one above 1, and all are what they are
    assert {arm.scale for arm in arms_of([*results, run(0.3, teacher_share=2.0, seed=4)])} == {1}


@pytest.mark.parametrize('metric', ['accuracy/top1', 'multi-label/mAP', 'mIoU'])
def test_percentages_stay_below_1_too(metric):
    (arm,) = arms_of([made_result(metrics={metric: 0.4}, teacher_metrics={metric: 0.7})])
    assert (arm.metric, arm.scores) == (metric, {0: 0.4})


def test_sweeps_are_not_held_against_each_other():
    results = [
        made_result(91, fingerprint='m1', sweep='one'),
        made_result(90, arm=BASELINE, teacher=None, fingerprint='b1', sweep='one'),
        made_result(71, fingerprint='m2', sweep='two', config={**made_result().config, 'file': 'configs/other.py'}),
        made_result(70, arm=BASELINE, teacher=None, fingerprint='b2', sweep='two'),
    ]
    found = compare(arms_of(results))
    assert [(one.gain.mean, one.arm.name) for one in found] == [(1.0, 'some'), (1.0, 'other')]


def test_names_what_is_not_matched():
    result = made_result(teacher=None, arm=BASELINE, fingerprint='b')
    config = {**result.config, 'data': dict(dataset=dict(type='Digits'), batch_size=16)}
    schedule = dict(train_cfg=dict(max_epochs=12), optim_wrapper=dict(optimizer=dict(lr=0.2)))
    other = dataclasses.replace(result, config={**config, 'schedule': schedule}, split='val', machine=dict(processes=8))
    (found,) = compare(arms_of([made_result(), other]))
    always = ('schedule.optim_wrapper', 'split', 'machine.processes')
    assert found.differences == ('data.batch_size', 'schedule.train_cfg.max_epochs', *always)
    # a longer training has to have another schedule
    (found,) = compare(
        arms_of([made_result(), dataclasses.replace(other, experiment=dict(arm=SAME_COMPUTE, options={}, sweep='s'))])
    )
    assert found.differences == ('data.batch_size', *always)


def test_options_are_in_order():
    results = [made_result(options={'tau': tau}, fingerprint=str(tau)) for tau in (20, 4, 100, 5.5)]
    assert [arm.options['tau'] for arm in arms_of(results)] == [4, 5.5, 20, 100]
    # what cannot be compared goes by name
    results = [made_result(options={'mode': mode}, fingerprint=str(mode)) for mode in ('b', None, 3, 'a')]
    assert [arm.options['mode'] for arm in arms_of(results)] == [3, None, 'a', 'b']


def test_the_later_of_two_runs_counts():
    (arm,) = arms_of([made_result(90.0), made_result(91.0)])
    assert arm.scores == {0: 91.0}
    assert arm.deviation is None
