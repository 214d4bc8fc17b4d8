"""Contacts are chosen by variance over kurtosis, known for simple signals."""

import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.signals.choice import best_contacts, channel_scores
from brainfm.types import Channels, Kind, Recording


def recording(x_TC, kinds, sfreq=100.0, **more):
    n = len(kinds)
    unknown = np.full((n, 3), np.nan, np.float32)
    names = tuple(f"c{i}" for i in range(n))
    channels = Channels(names, np.array(kinds), unknown, np.zeros((n, 3)), ("V",) * n)
    return Recording(x_TC.astype(np.float32), sfreq, channels, "d", "s", name="r", **more)


def test_scores_of_signals_whose_moments_are_known():
    sign = np.tile([1.0, -1.0], 5000)  # kurtosis 1
    sine = np.sin(2 * np.pi * np.arange(10_000) / 100)  # variance 1/2, kurtosis 3/2
    x_TC = np.stack([3 * sign + 7, sine, np.full(10_000, 5.0)], 1)
    np.testing.assert_allclose(channel_scores(x_TC), [9 / 2, 0.5 / 2.5, 0.0], rtol=1e-6)
    # Volts: what is small stays in order.
    np.testing.assert_allclose(channel_scores(x_TC * 1e-6), [4.5e-12, 0.2e-12, 0], 1e-6, 1e-30)


def test_strong_contacts_without_outliers_are_kept_in_their_old_order():
    rng = np.random.default_rng(0)
    x_TC = rng.normal(size=(5000, 5)) * [0.9, 0.1, 1.0, 2.0, 0.5]
    x_TC[::500, 0] = 40.0  # the greatest variance, by outliers alone
    kept = best_contacts(recording(x_TC, [Kind.SEEG] * 5), 2)
    assert np.argmax(x_TC.var(0)) == 0
    assert kept.channels.name == ("c2", "c3")
    assert any("best 2 of 5 contacts" in n for n in kept.notes)


def test_other_kinds_stay_and_few_contacts_are_left_alone():
    x_TC = np.random.default_rng(1).normal(size=(500, 4)) * [1, 9, 5, 7]
    r = recording(x_TC, [Kind.EEG, Kind.SEEG, Kind.ECOG, Kind.EEG])
    assert best_contacts(r) is r and best_contacts(r, 2) is r
    assert best_contacts(r, 1).channels.name == ("c0", "c1", "c3")
    np.testing.assert_array_equal(best_contacts(r, 1).signal, r.signal[:, [0, 1, 3]])


def test_what_lies_outside_the_intervals_does_not_count():
    x_TC = np.ones((1000, 2)) * np.sin(np.arange(1000))[:, None] * [1.0, 2.0]
    x_TC[600:, 0] *= 1000
    r = recording(x_TC, [Kind.SEEG] * 2, intervals_s=[(0.0, 6.0)])
    assert best_contacts(r, 1).channels.name == ("c1",)


def test_no_contact_at_all_is_refused():
    with pytest.raises(DataError, match="0 contacts are to be kept"):
        best_contacts(recording(np.ones((10, 1)), [Kind.SEEG]), 0)
