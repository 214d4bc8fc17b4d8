"""Baselines learn what can be learnt, look at no future, and serve every montage."""

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_recording, synthetic_store
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from eval.seizure import baselines, judge
from eval.seizure.baselines import AlwaysAlarm, LineLength, Prevalence
from eval.seizure.eegnet import ChannelEEGNet
from eval.seizure.features import (
    StepReader,
    measure,
    over_channels,
    running_median,
    usable_bands,
)
from eval.seizure.windows import histogram, rank_scores

RECIPE = Recipe(sfreq=128.0, highpass_hz=0.5, lowpass_hz=40.0)
STEP = 256


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("seizures")
    return synthetic_store(
        root, n_subjects=5, seconds=120.0, recipe=RECIPE, kinds=("EEG",), seizures=True
    )


@pytest.fixture(scope="module")
def reader(store):
    return StepReader(store, STEP)


def rows_of(store, split):
    return store.recordings.index[store.recordings["split"] == split].tolist()


def auroc(reader, row, scores):
    return float(rank_scores(*histogram(reader(row).label_S, scores.proba_S))[0][0])


@pytest.mark.parametrize(
    "baseline",
    [LineLength(False), LineLength(True), ChannelEEGNet(steps=40, batch=12, channels=4)],
    ids=lambda b: b.name,
)
def test_learners_find_the_seizure_of_a_stranger(store, reader, baseline):
    (row,) = rows_of(store, "test")
    scores = baseline.fit(reader, rows_of(store, "train")).predict(reader, row)
    assert auroc(reader, row, scores) > 0.95
    assert len(scores.time_S) == 60 and scores.time_S[-1] == 120.0 and scores.step_s == 2.0
    assert np.isfinite(scores.proba_S).all() and scores.duration_s == 120.0


def test_constants_are_constant(store, reader):
    train, (row,) = rows_of(store, "train"), rows_of(store, "test")
    assert (AlwaysAlarm().fit(reader, train).predict(reader, row).proba_S == 1).all()
    share = np.concatenate([reader(r).label_S for r in train]).mean()
    p = Prevalence().fit(reader, train).predict(reader, row).proba_S
    assert (p == share).all() and 0.15 < share < 0.25


def test_a_lone_training_patient_is_enough_for_the_logistic_regression(store, reader):
    first, *_ = rows_of(store, "train")
    (row,) = rows_of(store, "test")
    model = LineLength().fit(reader, [first])
    assert not hasattr(model.model, "best_params_")  # nobody to choose C on
    assert auroc(reader, row, model.predict(reader, row)) > 0.9


def test_thinned_background_keeps_its_weight(store, reader, monkeypatch):
    train = rows_of(store, "train")
    monkeypatch.setattr(baselines, "MOST_BACKGROUND", 40)
    x, y, weight, group = baselines.training_table(reader, train, seed=0)
    labels = np.concatenate([reader(r).label_S for r in train])
    assert (~y).sum() == 40 and y.sum() == labels.sum() and len(x) == len(group)
    assert weight[~y].sum() == pytest.approx((~labels).sum()) and (weight[y] == 1).all()
    p = LineLength().fit(reader, train).predict(reader, train[0]).proba_S
    assert p.mean() == pytest.approx(labels.mean(), abs=0.1)


def test_eegnet_is_repeatable_and_does_not_count_channels(store, reader, tmp_path):
    train = rows_of(store, "train")
    a, b = (ChannelEEGNet(3, 3, 6, 2).fit(reader, train) for _ in range(2))
    other = ChannelEEGNet(4, 3, 6, 2).fit(reader, train)
    p = [m.predict(reader, 0).proba_S for m in (a, b, other)]
    assert np.array_equal(p[0], p[1]) and not np.allclose(p[0], p[2])

    def rearranged(name, order, dead=0):
        r = synthetic_recording("EEG", 20.0, 8, sfreq=128.0)
        r.signal, r.channels = np.ascontiguousarray(r.signal[:, order]), r.channels.take(order)
        r.signal[:, len(order) - dead :] = 0.0
        write_recording(r, tmp_path / name / "simulated_eeg" / "a.safetensors", recipe=RECIPE)
        build_tables(tmp_path / name)
        return a.predict(StepReader(Store(tmp_path / name), STEP), 0).proba_S

    want = rearranged("as is", list(range(6)))
    np.testing.assert_allclose(rearranged("turned", list(range(6))[::-1]), want, atol=1e-6)
    np.testing.assert_allclose(rearranged("dead", list(range(8)), dead=2), want, atol=1e-3)


def test_training_without_a_seizure_is_refused(reader, store, monkeypatch):
    train = rows_of(store, "train")
    free = {r: replace(reader(r), label_S=np.zeros_like(reader(r).label_S)) for r in train}
    monkeypatch.setattr(reader, "_known", free)
    for learner in (LineLength(), ChannelEEGNet(steps=1)):
        with pytest.raises(DataError, match="0 steps of seizure"):
            learner.fit(reader, train)


def test_features_do_not_look_ahead(tmp_path):
    def table(name, change):
        r = synthetic_recording("EEG", 60.0, 8, sfreq=128.0, seizure=True)
        if change:  # backwards from 40 s on, so that nothing is stored with another precision
            r.signal[128 * 40 :] = r.signal[128 * 40 :][::-1].copy()
        write_recording(r, tmp_path / name / "simulated_eeg" / "a.safetensors", recipe=RECIPE)
        build_tables(tmp_path / name)
        return StepReader(Store(tmp_path / name), STEP)(0).table_SF

    a, b = table("a", False), table("b", True)
    np.testing.assert_array_equal(a[:20], b[:20])
    assert np.abs(a[20:] - b[20:]).max() > 0.5


def test_steps_in_gaps_and_dead_channels_are_no_signal(tmp_path):
    r = synthetic_recording("EEG", 60.0, 8, sfreq=128.0)
    r.intervals_s = [(0.0, 21.0), (31.0, 60.0)]
    r.signal[:, 0] = 0.0
    r.signal[128 * 50 : 128 * 54] = 0.0
    write_recording(r, tmp_path / "simulated_eeg" / "a.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    reader = StepReader(Store(tmp_path), STEP)
    scores = AlwaysAlarm().predict(reader, 0)
    assert len(scores.time_S) == 30
    silent = np.isnan(scores.proba_S)
    assert np.flatnonzero(silent).tolist() == [10, 11, 12, 13, 14, 15, 25, 26]


def test_montage_and_order_of_channels_do_not_matter():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6, 3)).astype(np.float32)
    for q in (0.5, 0.9, 1.0):
        np.testing.assert_array_equal(over_channels(x, q), over_channels(x[:, ::-1], q))
        dead = np.concatenate([x, np.full((40, 2, 3), np.nan, np.float32)], 1)
        np.testing.assert_array_equal(over_channels(dead, q), over_channels(x, q))
        np.testing.assert_allclose(over_channels(x, q), np.quantile(x, q, axis=1), atol=1e-6)
    assert np.isnan(over_channels(np.full((2, 3, 1), np.nan, np.float32), 0.5)).all()


def test_line_length_and_bands_are_what_they_are_called():
    t = np.arange(256) / 128
    slow, fast = np.sin(2 * np.pi * 2 * t), np.sin(2 * np.pi * 20 * t)
    x = np.stack([slow, fast, np.zeros(256), np.full(256, np.nan)], -1)[None]
    bands = usable_bands(128.0, 40.0, 256)
    assert bands == [(0.5, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 40.0)]
    log, std = measure(x.astype(np.float32), 128.0, bands)
    assert 10 ** log[0, 0, 0] == pytest.approx(8, rel=0.05)  # 4 amplitudes x frequency
    assert 10 ** log[0, 1, 0] == pytest.approx(80, rel=0.05)
    assert log[0, 0, 1:].argmax() == 0 and log[0, 1, 1:].argmax() == 3
    assert np.isnan(log[0, 2:]).all() and std[0, :2] == pytest.approx(2**-0.5, rel=1e-3)


def test_the_running_median_forgets_and_skips_what_is_missing():
    x = np.array([[1.0], [np.nan], [3.0], [5.0], [7.0]], np.float32)
    assert running_median(x, 3)[:, 0].tolist() == [1.0, 1.0, 2.0, 4.0, 5.0]
    assert np.isnan(running_median(np.array([[np.nan]], np.float32), 3)).all()


def test_scale_of_the_amplifier_changes_only_absolute_features(store, reader):
    half = reader(0).table_SF.shape[1] // 2
    assert np.abs(np.median(reader(0).table_SF[:, half : half + 6], 0)).max() < 0.3


@pytest.mark.parametrize(("sfreq", "rate"), [(128, 200), (200, 200), (256, 256), (257, 200)])
def test_the_judge_hears_a_rate_it_takes(sfreq, rate):
    assert judge.rate_for(float(sfreq)) == rate
    x = np.sin(2 * np.pi * 5 * np.arange(10 * sfreq) / sfreq)
    x[: 2 * sfreq] = np.nan
    y = judge.at_rate(x, float(sfreq))
    assert len(y) == 10 * rate and np.isnan(y[: 2 * rate]).all()
    want = np.sin(2 * np.pi * 5 * np.arange(10 * rate) / rate)
    np.testing.assert_allclose(y[4 * rate : 9 * rate], want[4 * rate : 9 * rate], atol=0.01)


def test_the_judges_half_seconds_become_steps():
    half = np.arange(0, 10, 0.5)
    p = np.where(half <= 4, 0.2, 0.8)
    p[half == 0] = np.nan
    p[(half > 6) & (half <= 8)] = np.nan
    got = judge.on_steps(half, p, np.array([2.0, 4.0, 6.0, 8.0, 10.0]), 2.0)
    np.testing.assert_allclose(got, [0.2, 0.2, 0.8, np.nan, 0.8])


def test_the_judge_averages_channels_and_says_when_it_is_missing(store, reader, monkeypatch):
    """Its network is replaced: what is tested is what reaches it and what becomes of its answer."""
    heard = []

    def network(x, fs, model, window_s, step_s, n_batch):
        heard.append((len(x), fs, window_s, step_s))
        half = np.arange(len(x) // (fs // 2)) * 0.5
        return half, np.full(len(half), 0.2 if len(heard) % 2 else 0.4)

    package, part = ModuleType("brainmaze_eeg_models"), ModuleType("brainmaze_eeg_models.seizure")
    part.load_trained_model = lambda name, threads: name
    part.predict_channel_seizure_probability = network
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, part.__name__, part)
    (row,) = rows_of(store, "val")
    scores = judge.OutsideJudge().predict(reader, row)
    n = len(store.channels(row))
    assert heard == [(24_000, 200, 119.5, 99.0)] * n
    assert np.allclose(scores.proba_S, 0.3, atol=0.1 / n + 1e-9) and len(scores.proba_S) == 60
    assert judge.OutsideJudge().applies(reader, [row])
    monkeypatch.setattr(judge, "SHORTEST_S", 121.0)
    assert not judge.OutsideJudge().applies(reader, [row])
    monkeypatch.setattr(judge, "find_spec", lambda name: None)
    assert not judge.installed() and "pip install" in judge.MISSING


@pytest.mark.skipif(not judge.installed(), reason="brainmaze-eeg-models is not installed")
def test_the_real_judge_gives_probabilities(store, reader):
    (row,) = rows_of(store, "test")
    p = judge.OutsideJudge().predict(reader, row).proba_S
    assert np.isfinite(p).all() and ((p >= 0) & (p <= 1)).all()
