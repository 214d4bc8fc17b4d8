"""What the picture draws from: extremes of any length of signal in constant memory."""

import numpy as np
import pytest
from detect_helpers import RULE, channels

from brainfm.detect.score import Scores
from brainfm.detect.timeline import N_BINS, N_SHOWN, Envelope, draw_timeline
from brainfm.types import Event


def test_extremes_survive_however_long_the_recording_gets():
    envelope = Envelope(channels(2), 100.0)
    x_TC = np.zeros((1_000_000, 2))
    x_TC[777_777, 0], x_TC[3, 1] = 5.0, -4.0
    for a in range(0, len(x_TC), 33_333):
        envelope.add(a, x_TC[a : a + 33_333])
    assert envelope.low_NK.shape == (N_BINS, 2) and envelope.width == 512
    assert np.nanargmax(envelope.high_NK[:, 0]) == 777_777 // 512
    assert np.nanargmin(envelope.low_NK[:, 1]) == 0
    assert envelope.time_N[777_777 // 512] == pytest.approx(7777.77, abs=5.12)


def test_samples_that_never_came_are_a_hole():
    envelope = Envelope(channels(2), 100.0)
    envelope.add(0, np.ones((100, 2)))
    envelope.add(200, np.ones((100, 2)))
    assert np.isfinite(envelope.low_NK[:100]).all() and np.isnan(envelope.low_NK[100:200]).all()


def test_few_channels_of_many_are_shown_from_first_to_last():
    envelope = Envelope(channels(64), 100.0)
    assert len(envelope.name) == N_SHOWN
    assert (envelope.name[0], envelope.name[-1]) == ("E1", "E64")


@pytest.mark.parametrize("signal", [np.nan, 0.0, 1e-5])
def test_a_picture_is_drawn_whatever_there_is(tmp_path, signal, recwarn):
    envelope = Envelope(channels(3), 100.0)
    envelope.add(0, signal * np.random.default_rng(0).normal(size=(1000, 3)))
    scores = Scores.of(np.array([0.1, np.nan, 0.9, 0.9, 0.9, 0.9, 0.9]), 2.0, 15.0)
    path = tmp_path / "a.png"
    draw_timeline(path, envelope, scores, RULE, title="a", annotated=[Event(5.0, 3.0, "sz")])
    assert path.read_bytes()[:4] == b"\x89PNG" and len(path.read_bytes()) > 10_000
    assert not recwarn.list and [p.name for p in tmp_path.iterdir()] == ["a.png"]
