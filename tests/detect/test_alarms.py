"""Alarms of probabilities with known answers."""

import numpy as np
import pytest

from brainfm.detect.alarms import AlarmRule, Watch, alarms, no_signal, smooth
from brainfm.types import Event

RAW = AlarmRule(smooth_s=0, min_s=0, merge_s=0)
NAN = float("nan")


def steps(text: str) -> np.ndarray:
    """One letter a step: 1 and 0 are probabilities, n is no signal."""
    return np.array([{"0": 0.0, "1": 1.0, "n": NAN}[c] for c in text])


def test_a_run_over_the_threshold_is_one_event_from_its_first_to_its_last_step():
    assert alarms(steps("0011100"), 2.0, RAW) == [Event(4.0, 6.0, "sz")]
    assert alarms(steps("1"), 5.0, RAW) == [Event(0.0, 5.0, "sz")]


def test_what_is_shorter_than_min_s_is_no_alarm_and_what_is_as_long_is():
    rule = AlarmRule(smooth_s=0, min_s=6, merge_s=0)
    assert alarms(steps("0110"), 2.0, rule) == []
    assert alarms(steps("01110"), 2.0, rule) == [Event(2.0, 6.0, "sz")]


def test_alarms_closer_than_merge_s_are_one():
    rule = AlarmRule(smooth_s=0, min_s=0, merge_s=4)
    assert alarms(steps("1010"), 2.0, rule) == [Event(0.0, 6.0, "sz")]
    assert alarms(steps("1001"), 2.0, rule) == [Event(0.0, 2.0, "sz"), Event(6.0, 2.0, "sz")]


def test_blips_are_dropped_before_merging_so_many_of_them_are_no_alarm():
    assert alarms(steps("1010101010"), 2.0, AlarmRule(smooth_s=0, min_s=4, merge_s=30)) == []


def test_smoothing_is_the_mean_of_the_steps_behind():
    found = smooth([0.0, 1.0, 1.0, 0.0], 1.0, 2.0)
    np.testing.assert_allclose(found, [0.0, 0.5, 1.0, 0.5])


def test_steps_without_signal_are_no_alarm_and_have_no_part_in_the_mean():
    found = smooth(steps("1n10"), 1.0, 3.0)
    np.testing.assert_allclose(found, [1.0, NAN, 1.0, 0.5])
    assert alarms(steps("nnnn"), 1.0, RAW) == []
    assert alarms(steps("1nn1"), 1.0, RAW) == [Event(0.0, 1.0, "sz"), Event(3.0, 1.0, "sz")]


def test_a_mean_of_equal_probabilities_reaches_their_own_threshold():
    rule = AlarmRule(threshold=0.1, smooth_s=30, min_s=0)
    assert alarms(np.full(50, 0.1), 1.0, rule) == [Event(0.0, 50.0, "sz")]


def test_later_steps_never_take_back_an_alarm_nor_move_its_onset():
    p_S = np.random.default_rng(0).random(300)
    p_S[::17] = NAN
    rule = AlarmRule(threshold=0.55, smooth_s=6, min_s=4, merge_s=10)
    before: list[Event] = []
    for n in range(1, 301):
        now = alarms(p_S[:n], 2.0, rule)
        assert [e.onset_s for e in now[: len(before)]] == [e.onset_s for e in before]
        before = now
    assert len(before) > 3


@pytest.mark.parametrize(
    "rule",
    [
        RAW,
        AlarmRule(),
        AlarmRule(0.55, 6, 4, 10),
        AlarmRule(0.5, 0, 5, 2),
        AlarmRule(0.6, 4, 0, 30),
    ],
)
@pytest.mark.parametrize("step_s", [2.0, 0.25])
def test_a_watch_gives_each_alarm_once_and_when_it_is_first_seen(rule, step_s):
    rng = np.random.default_rng(1)
    time_S = np.arange(0, 500, step_s)
    p_S = 0.5 + 0.4 * np.sin(time_S / 20) + 0.15 * rng.normal(size=len(time_S))
    p_S[rng.random(len(time_S)) < 0.02] = NAN
    watch, told = Watch(step_s, rule), []
    for n, p in enumerate(p_S, 1):
        onset_s = watch.push(p)
        told += [] if onset_s is None else [onset_s]
        assert told == [e.onset_s for e in alarms(p_S[:n], step_s, rule)], n
    assert len(told) > 2


def test_a_watch_holds_no_more_than_it_smooths():
    watch = Watch(2.0, AlarmRule(smooth_s=10.0))
    for _ in range(1000):
        watch.push(0.9)
    assert len(watch._recent) == 5


def test_stretches_without_a_probability_are_named():
    assert no_signal(steps("n01nn"), 2.0) == [
        Event(0.0, 2.0, "no_signal"),
        Event(6.0, 4.0, "no_signal"),
    ]


def test_nothing_gives_nothing():
    assert alarms([], 2.0) == [] and no_signal([], 2.0) == []


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.5}, {"threshold": NAN}, {"min_s": -1}, {"smooth_s": NAN}]
)
def test_numbers_outside_their_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AlarmRule(**wrong)
