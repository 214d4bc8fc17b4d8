"""Scores of stored recordings and of blocks are what the engine says."""

import numpy as np
import pytest
from detect_helpers import CAUSAL, LOOKS_AHEAD, LineLength, channels, patient

from brainfm.data.store import Store, build_tables, write_recording
from brainfm.detect.score import Scores, score_recording, score_stored
from brainfm.errors import ContractError, DataError
from brainfm.types import Recording


@pytest.fixture
def store(tmp_path):
    x_TC = patient(128.0, seconds=90, seizure=(30, 45)).astype(np.float32)
    x_TC[70 * 128 : 75 * 128] = 0.0
    recording = Recording(
        x_TC, 128.0, channels(), "made", "01", name="a", intervals_s=[(0, 20), (20, 90)]
    )
    write_recording(recording, tmp_path / "made" / "a.safetensors", recipe=CAUSAL, dtype="float32")
    build_tables(tmp_path)
    return Store(tmp_path)


def test_a_stored_recording_scores_as_its_samples_do(store):
    scores = score_stored(LineLength(), store, 0)
    x_TC = patient(128.0, seconds=90, seizure=(30, 45)).astype(np.float32)
    x_TC[70 * 128 : 75 * 128] = 0.0
    blocks = np.array_split(x_TC, 13)
    again = score_recording(LineLength(), blocks, channels(), intervals_s=[(0, 20), (20, 90)])
    np.testing.assert_allclose(scores.proba_S, again.proba_S, atol=1e-6)
    assert scores.duration_s == 90 and scores.step_s == 1
    np.testing.assert_array_equal(scores.time_S, np.arange(1, 91))


def test_a_seizure_stands_out_and_rest_is_no_signal(store):
    p_S = score_stored(LineLength(), store, 0).proba_S
    assert p_S[31:44].min() > 0.5 > np.delete(p_S, np.r_[29:46, 70:77]).max()
    assert np.isnan(p_S[70:77]).all() and np.isnan(p_S).sum() == 7


def test_a_store_prepared_otherwise_is_refused(store):
    with pytest.raises(ContractError, match="causal is False in the model's recipe but True"):
        score_stored(LineLength(LOOKS_AHEAD), store, 0)


def test_what_is_recorded_is_filtered_first():
    found = score_recording(LineLength(), [patient()], channels(), 256.0)
    assert found.duration_s == 60 and len(found.proba_S) == 60
    assert found.no_signal_share == 0


def test_a_recording_shorter_than_a_step_is_refused_by_name():
    with pytest.raises(DataError, match=r"x\.edf: lasts 0\.5 s"):
        score_recording(LineLength(), [patient(seconds=0.5)], channels(), 256.0, where="x.edf")


def test_scores_of_nothing_are_no_signal():
    assert Scores.of(np.empty(0), 1.0, 0.5).no_signal_share == 1.0
