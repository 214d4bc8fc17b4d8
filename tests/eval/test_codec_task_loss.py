"""What coding costs a probe, on trials whose classes differ in one known way."""

import numpy as np
import pytest

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_recording
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event
from eval.codec import task as t
from eval.codec.coders import Coded
from eval.codec.figures import accuracy_curves
from eval.codec.pages import task_rows
from eval.codec.transform import TransformCoder, Zero

RECIPE = Recipe(sfreq=64.0, highpass_hz=0.5, lowpass_hz=30.0)
QUICK = {"n_train_windows": 8, "n_resamples": 60}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Trials of 2 s: the mean of the second half is high in one class and low in the other."""
    root = tmp_path_factory.mktemp("task")
    for i, split in enumerate(("train", "test")):
        r = synthetic_recording(
            "EEG", 80.0, 3, i, sfreq=64.0, subject=str(i), dataset="simulated_b", split=split
        )
        r.events = [Event(2.0 * k, 2.0, "up" if k % 2 else "down") for k in range(40)]
        for k in range(40):
            r.signal[128 * k + 64 : 128 * (k + 1)] += (1 if k % 2 else -1) * r.signal.std()
        write_recording(r, root / "simulated_b" / f"sub-{i}.safetensors", recipe=RECIPE)
    build_tables(root)
    return Store(root)


class Forgetful:
    """Gives back noise of the signal's size, at a known cost; one sample too few."""

    name, sort = "noise", "codec"

    def applies(self, piece):
        return True

    def fit(self, pieces):
        self.seen = sum(len(p.x_BCT) for p in pieces)

    def code(self, piece):
        x = np.random.default_rng(0).normal(size=piece.x_BCT.shape) * piece.x_BCT.std()
        yield Coded("only", 1, piece.x_BCT, x[..., :-1], 100 * piece.channel_seconds)


def test_a_fine_step_loses_nothing_and_noise_loses_all(store):
    noise = Forgetful()
    task = t.task_loss(
        store, "simulated_b", [noise, TransformCoder([1 / 64]), Zero()], retrain=True, **QUICK
    )
    of = {(r["coder"], r["probe"]): r for r in task["rows"]}
    means = t.PROBES[0]
    assert (task["n_test"], task["n_train"], noise.seen) == (40, 40, 8) and task["simulated"]
    assert task["original"][means]["mean"] > 0.95
    assert task["original"]["majority class"]["mean"] == 0.5
    fine = of["DCT", means]
    assert fine["loss"]["mean"] == pytest.approx(0, abs=0.02) and fine["loss"]["low"] <= 0
    assert fine["retrained"]["mean"] > 0.95
    lost = of["noise", means]
    assert lost["bits_per_s"] == pytest.approx(100) and lost["loss"]["low"] > 0.2
    assert lost["loss"]["mean"] == pytest.approx(
        task["original"][means]["mean"] - lost["accuracy"]["mean"]
    )
    said = t.task_sentences(task)[0]
    assert "noise at no rate tried" in said and "DCT from 0." in said
    rows = task_rows(task)
    assert rows[0]["coder"] == "original signal" and "its loss" in rows[-1]
    assert len(accuracy_curves({"rows": []}, task).axes) == 2


def test_the_same_trials_are_drawn_for_both_sides():
    y = np.array([0, 0, 1, 1] * 10)
    proba = np.eye(2)[np.where(np.arange(40) % 5 == 0, 1 - y, y)]
    weights = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), 50).astype(float)
    a = t.recalls(y, proba, weights)
    assert a[0] == pytest.approx(0.8) and a[1:].std() > 0
    assert t.stated(a - a) == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_trials_are_cut_to_whole_steps_and_to_so_many(store):
    task = t.task_loss(
        store, "simulated_b", [TransformCoder([1.0])], step=100, n_trials=10, **QUICK
    )
    assert task["seconds"] == 100 / 64 and task["n_test"] == 10


def test_trials_shorter_than_a_codec_needs_are_refused(store):
    with pytest.raises(DataError, match="trials of 128 samples are shorter than the 200"):
        t.task_loss(store, "simulated_b", [], step=200)
    with pytest.raises(DataError, match="no official test split"):
        t.task_loss(store, "eegmmidb", [])


def test_only_sets_with_known_trials_are_taken_unasked(store):
    assert t.labelled(store, [0, 1]) == []


def test_a_probe_at_chance_says_nothing():
    value = {"mean": 0.5, "low": 0.4, "high": 0.6}
    task = {
        "dataset": "a", "n_test": 4, "rows": [],
        "original": {k: value for k in ("majority class", *t.PROBES)},
    }  # fmt: skip
    assert all("which is chance" in s for s in t.task_sentences(task))
