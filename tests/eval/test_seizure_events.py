"""Event and sample scores: the package, our wrapper and the written definition agree."""

import math

import numpy as np
import pytest
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring, SampleScoring

from brainfm.errors import DataError
from brainfm.types import Event
from eval.seizure.events import (
    latencies,
    length_s,
    merged,
    ratios,
    score_events,
    score_samples,
    spans_of,
)

FIELDS = ("tp", "fp", "sensitivity", "precision", "f1")


def random_spans(rng, duration):
    n = rng.integers(0, 7)
    starts = np.sort(rng.uniform(0, duration, n)).round(rng.choice([0, 1, 3]))
    lasts = rng.choice([0.4, 10.0, 59.9, 200.0, 301.0, 900.0], n)
    return [(float(a), float(min(a + b, duration))) for a, b in zip(starts, lasts, strict=True)]


def defined(ref, hyp, duration, before=30, after=60):
    """The definition, written down again: sets of tenths of a second, no package."""

    def pieces(spans):
        out = []
        for a, b in spans:
            if out and a - out[-1][1] < 90:
                out[-1][1] = b
            else:
                out.append([a, b])
        parts = []
        for a, b in out:
            while b - a > 300:
                parts.append((a, a + 300))
                a = a + 300
            parts.append((a, b))
        return parts

    total = round(duration * 10)

    def tenths(a, b):
        return set(range(round(a * 10), min(round(b * 10), total)))

    ref, hyp = pieces(ref), pieces(hyp)
    raised = set().union(*(tenths(a, b) for a, b in hyp))
    found, tp = set(), 0
    for a, b in ref:
        wide = tenths(max(0, a - before), min(total / 10, b + after))
        if wide & raised:
            tp, found = tp + 1, found | wide
    fp = sum(not tenths(a, b) & found for a, b in hyp)
    return tp, fp, len(ref)


def test_wrapper_package_and_definition_agree_on_random_lists():
    rng = np.random.default_rng(0)
    for _ in range(400):
        duration = int(rng.integers(60, 3000))
        ref, hyp = random_spans(rng, duration), random_spans(rng, duration)
        mine = score_events(ref, hyp, duration)
        theirs = EventScoring(
            Annotation(list(ref), 10, duration * 10), Annotation(list(hyp), 10, duration * 10)
        )
        assert (mine.tp, mine.fp, mine.ref_true) == defined(ref, hyp, duration)
        for field in FIELDS:
            assert np.array_equal(getattr(mine, field), getattr(theirs, field), equal_nan=True)
        assert mine.fp_per_day == theirs.fpRate and mine.ref_true == theirs.refTrue
        sample = score_samples(ref, hyp, duration)
        other = SampleScoring(
            Annotation(list(ref), 10, duration * 10), Annotation(list(hyp), 10, duration * 10)
        )
        assert (sample.tp, sample.fp, sample.ref_true) == (other.tp, other.fp, other.refTrue)
        seconds = [
            {s for a, b in x for s in range(round(a), min(round(b), duration))} for x in (ref, hyp)
        ]
        assert sample.tp == len(seconds[0] & seconds[1])
        assert sample.fp == len(seconds[1] - seconds[0])


def test_zero_tolerance_asks_for_the_seizure_itself():
    ref, near = [(100.0, 150.0)], [(155.0, 170.0)]
    assert score_events(ref, near, 1000).tp == 1
    strict = score_events(ref, near, 1000, tolerant=False)
    assert (strict.tp, strict.fp) == (0, 1)


def test_always_on_is_288_false_alarms_a_day():
    score = score_events([], [(0.0, 86400.0)], 86400)
    assert score.fp == 288 and score.fp_per_day == 288
    assert math.isnan(score.sensitivity) and score.f1 == 0


def test_ratios_of_counts_are_those_of_the_package():
    rng = np.random.default_rng(1)
    for _ in range(50):
        ref, hyp = random_spans(rng, 1500), random_spans(rng, 1500)
        s = score_events(ref, hyp, 1500)
        want = (s.sensitivity, s.precision, s.f1)
        np.testing.assert_allclose(ratios(s.tp, s.fp, s.ref_true), want, rtol=1e-12)


@pytest.mark.parametrize(
    ("alarms", "delay", "want"),
    [
        ([(104.0, 120.0)], 0, 4.0),
        ([(104.0, 120.0)], 6, 10.0),  # given six seconds after its onset
        ([(80.0, 120.0)], 0, -20.0),  # inside the tolerance
        ([(0.0, 500.0)], 0, -30.0),  # on since long: counts where the tolerance begins
        ([(40.0, 69.0), (130.0, 140.0)], 0, 30.0),  # the first is too early to count
        ([(205.0, 210.0)], 0, 105.0),  # in the tolerance after the end
        ([(211.0, 220.0)], 0, math.nan),
        ([], 0, math.nan),
    ],
)
def test_latency_runs_from_the_onset_to_the_first_alarm(alarms, delay, want):
    assert latencies([(100.0, 150.0)], alarms, delay) == pytest.approx([want], nan_ok=True)


def test_long_seizures_have_one_onset_and_close_ones_are_one():
    assert latencies([(100.0, 1000.0)], [(400.0, 410.0)]) == [300.0]
    assert latencies([(100.0, 150.0), (200.0, 220.0)], [(200.0, 205.0)]) == [100.0]
    assert len(latencies([(100.0, 150.0), (240.0, 260.0)], [])) == 2


def test_lengths_count_overlaps_once():
    assert length_s([(0, 10), (5, 20), (30, 31)]) == 21
    assert merged([(30, 31), (0, 10), (10, 12)]) == [(0, 12), (30, 31)]
    assert spans_of([Event(5, 2, "sz"), Event(1, 1, "sz")]) == [(1, 2), (5, 7)]


@pytest.mark.parametrize(
    ("spans", "says"),
    [
        ([(5.0, 3.0)], "in this order"),
        ([(-1.0, 3.0)], "first sample"),
        ([(math.nan, 3.0)], "numbers"),
        ([(10.0, 11.0), (1.0, 2.0)], "sort events"),
    ],
)
def test_impossible_events_are_refused(spans, says):
    with pytest.raises(DataError, match=says):
        score_events(spans, [], 100)


@pytest.mark.parametrize("duration", [0, -1, math.nan, math.inf])
def test_impossible_lengths_are_refused(duration):
    with pytest.raises(DataError, match="cannot last"):
        score_events([], [], duration)
