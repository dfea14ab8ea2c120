"""Results as runs leave them, with numbers that tests choose."""

from kd_plugins.report.arms import BASELINE, SAME_COMPUTE
from kd_plugins.report.result import Result


def made_result(score=90.0, *, arm='main', options=None, seed=0, teacher=99.0, fingerprint='a', sweep='s', **changes):
    """A result; ``teacher=None`` for a training without one, ``sweep=None`` for one of no sweep."""
    model = dict(name='PlainCNN', parameters=1000, bytes=4000, latency_ms=0.5)
    values = dict(
        config=dict(
            file='configs/some.py',
            fingerprint=fingerprint,
            data=dict(dataset=dict(type='Digits'), batch_size=32),
            schedule=dict(train_cfg=dict(max_epochs=10)),
        ),
        experiment=dict(arm=arm, options=options or {}, sweep=sweep),
        seed=seed,
        git=dict(commit='0123456789abcdef', changed=False),
        versions=dict(torch='2.11.0'),
        machine=dict(cpu='a CPU', gpu=None, processes=1),
        training=dict(images=100, epochs=10, iterations=40, batch_size=25, seconds=5.0, seconds_per_iteration=0.1),
        metrics={'accuracy/top1': score},
        teacher_metrics={} if teacher is None else {'accuracy/top1': teacher},
        split='test',
        weights='last',
        student=model,
        teacher=None if teacher is None else {**model, 'parameters': 9000},
        curves=dict(losses={'loss': [(1, 2.0), (40, 0.5)]}, metrics={}),
    )
    return Result(**{**values, **changes})


def swept(taus=(2, 4), seeds=3):
    """The results of a sweep: two arms that gain 1 and 2 points, one baseline, and one with more compute."""
    results = []
    for seed in range(seeds):
        base = 90 + 0.1 * seed
        # each of its steps takes as long as two of the student alone
        slow = dict(made_result().training, seconds_per_iteration=0.2)
        results += [
            made_result(
                base + 1 + index + 0.01 * seed, options={'tau': tau}, seed=seed, fingerprint=f'm{tau}', training=slow
            )
            for index, tau in enumerate(taus)
        ]
        results.append(made_result(base, arm=BASELINE, seed=seed, teacher=None, fingerprint='b'))
        longer = dict(made_result().training, iterations=80, epochs=20)
        results.append(
            made_result(base + 1.5, arm=SAME_COMPUTE, seed=seed, teacher=None, fingerprint='c', training=longer)
        )
    return results
