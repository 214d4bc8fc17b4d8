"""Trials of speech end to end: times, sentences, phonemes, and what does not fit."""

import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event, Kind
from data_prep.readers.spoken_trials import SpokenTrial, end_to_end, sentence_events, unplaced

CHANNELS = unplaced(["a", "b"], Kind.ECOG, "au")


def laid(trials, sfreq=50.0, target=100.0):
    recipe = Recipe(sfreq=target, highpass_hz=None, lowpass_hz=None, notch=False)
    return end_to_end(
        trials,
        sfreq=sfreq,
        recipe=recipe,
        channels=CHANNELS,
        source="file",
        notes=["as published"],
        dataset="d",
        subject="s",
        name="n",
        split="val",
        split_group="d/n",
    )


def test_each_trial_is_an_interval_and_its_events_move_along():
    first = SpokenTrial(np.zeros((100, 2)), (Event(0.5, 1.5, "word:yes"),))
    second = SpokenTrial(np.ones((50, 2)), (Event(0.0, 1.0, "sentence:no no"),))
    r = laid([first, second])
    assert r.intervals_s == [(0, 2), (2, 3)] and r.sfreq == 100.0
    assert r.events == [Event(0.5, 1.5, "word:yes"), Event(2.0, 1.0, "sentence:no no")]
    assert (r.split, r.split_group, r.line_freq) == ("val", "d/n", None)
    assert r.notes[-1] == "as published" and "highpass: none" in r.notes[0]
    # Trials are resampled one by one: none rings into the next.
    np.testing.assert_allclose(r.signal[:200], 0, atol=1e-6)
    np.testing.assert_allclose(r.signal[200:], 1, atol=1e-6)


def test_the_same_rate_changes_no_sample():
    x = np.random.default_rng(0).standard_normal((40, 2))
    np.testing.assert_allclose(laid([SpokenTrial(x)], target=50.0).signal, x, atol=1e-6)


@pytest.mark.parametrize(
    ("trial", "sentence"),
    [
        (SpokenTrial(np.zeros((10, 3))), r"trial 2 has shape \(10, 3\) for 2 channels"),
        (SpokenTrial(np.zeros((1, 2))), r"trial 2 has shape \(1, 2\)"),
        (SpokenTrial(np.zeros(10)), r"trial 2 has shape \(10,\)"),
        (SpokenTrial(np.full((10, 2), np.inf)), "trial 2 holds values that are not finite"),
        (
            SpokenTrial(np.zeros((50, 2)), (Event(0, 9, "sentence:long"),)),
            "ends at 9.00 s, but the recording lasts 1.00 s; the transcript belongs to another",
        ),
        (SpokenTrial(np.zeros((50, 2)), (Event(0, 1, "word: "),)), "word 1 .* has no text"),
        (SpokenTrial(np.zeros((50, 2)), (Event(0, 1, "phoneme:QQ"),)), "phoneme 'QQ' is none"),
    ],
)
def test_a_trial_that_does_not_fit_is_refused_by_its_number(trial, sentence):
    with pytest.raises(DataError, match=sentence) as e:
        laid([SpokenTrial(np.zeros((50, 2))), trial])
    assert str(e.value).startswith("file: trial 2") and len(str(e.value).splitlines()) == 1


def test_no_trial_at_all_is_refused():
    with pytest.raises(DataError, match="file: holds no trial for 'n'"):
        laid([])


def test_phonemes_fill_their_sentence_in_order():
    events = sentence_events(" Hi  you. ", [16, 6, 40, 37], 2.0, "trial 1")
    assert events == [
        Event(0.0, 2.0, "sentence:Hi you."),
        Event(0.0, 0.5, "phoneme:HH"),
        Event(0.5, 0.5, "phoneme:AY"),
        Event(1.0, 0.5, "phoneme:SIL"),
        Event(1.5, 0.5, "phoneme:Y"),
    ]
    assert sentence_events("", [], 2.0, "trial 1") == []
    assert sentence_events("Hi.", [], 2.0, "") == [Event(0.0, 2.0, "sentence:Hi.")]


@pytest.mark.parametrize("number", [0, 41, -1, 500])
def test_a_number_that_is_no_phoneme_is_named(number):
    with pytest.raises(DataError, match=f"trial 1: phoneme 2: {number} is no phoneme"):
        sentence_events("Hi.", [1, number], 2.0, "trial 1")


def test_phonemes_without_a_sentence_are_refused():
    with pytest.raises(DataError, match="trial 1: has 2 phonemes but no sentence"):
        sentence_events(" ", [1, 2], 2.0, "trial 1")
