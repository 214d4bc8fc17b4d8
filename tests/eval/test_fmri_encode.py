"""Encoding models: designs in seconds, ridge, ceilings, folds, and responses that are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Event, Kind, Recording, Stimulus
from eval.fmri.__main__ import main
from eval.fmri.encode import encode
from eval.fmri.encode_page import _encoding_rows, _views
from eval.fmri.folds import correlation, folds_of
from eval.fmri.stimuli import (
    BIN_S,
    LAGS,
    ceiling,
    event_means,
    overlap,
    read_shown,
    repeats,
    stimulus_means,
)
from eval.fmri.systems import ANYTHING, PENALTIES, RIDGE, SYSTEMS, ridge, through_blood

N = 12


def recording(x_TC, tr_s=1.0, **fields):
    n = x_TC.shape[1]
    place = np.random.default_rng(9).uniform(-0.06, 0.06, (n, 3))
    names = tuple(f"P{i}" for i in range(n))
    kind = np.full(n, Kind.BOLD)
    channels = Channels(names, kind, place, np.zeros((n, 3)), ("au",) * n, "mni", "none")
    return Recording(x_TC.astype(np.float32), 1 / tr_s, channels, split="train", **fields)


def store_of(root, recordings):
    for k, r in enumerate(recordings):
        write_recording(r, root / r.dataset / f"{k}.safetensors", recipe=Recipe())
    build_tables(root)
    return Store(root)


def run(number, noise=0.5, frames=200, tr_s=1.0):
    """Half of the channels answer to "a", half to "b", 4 to 6 s after it."""
    rng = np.random.default_rng(number)
    events = [
        Event(float(at), 3.0, "ab"[rng.integers(2)]) for at in range(4, int(frames * tr_s) - 15, 11)
    ]
    x = noise * rng.normal(size=(frames, N))
    for i, label in enumerate("ab"):
        mine = [e for e in events if e.label == label]
        x[:, i * N // 2 : (i + 1) * N // 2] += (
            2 * event_means(mine, np.arange(frames) * tr_s)[:, 2:3]
        )
    return recording(x, tr_s, dataset="toy", subject="01", name=f"run-{number}", events=events)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("toy"), [run(k) for k in range(5)])


def test_events_count_by_the_share_of_each_bin():
    design = event_means([Event(10.0, 3.0, "a")], np.array([9.0, 11.0, 12.0, 14.0, 30.0]))
    assert design[0].sum() == 0 and design[4, 6:].sum() == 0
    assert design[1, 0] == 0.5  # the bin from 9 to 11 s
    assert design[2, 0] == 1.0
    assert design[3, :2].tolist() == [0.5, 1.0]
    # All of an event is seen once its bins have passed.
    assert event_means([Event(10.0, 3.0, "a")], np.array([20.0])).sum() * BIN_S == 3.0


def test_a_design_does_not_depend_on_the_tr():
    events = [Event(3.3, 2.2, "a"), Event(9.0, 4.0, "a")]
    fine, coarse = (event_means(events, np.arange(0, 40, tr)) for tr in (0.5, 2.0))
    np.testing.assert_allclose(fine[::4], coarse)
    stimulus = Stimulus(np.random.default_rng(0).normal(size=(640, 2)).astype(np.float32), 16.0)
    fine, coarse = (stimulus_means(stimulus, np.arange(0, 40, tr)) for tr in (0.5, 2.0))
    np.testing.assert_allclose(fine[::4], coarse)


def test_stimuli_are_means_of_what_lies_in_a_bin():
    values = np.arange(400.0)[:, None]
    found = stimulus_means(Stimulus(values.astype(np.float32), 10.0), np.array([20.0, 1.0]))
    z = (values - values.mean()) / values.std()
    for lag in range(LAGS):
        b = round((20 - BIN_S * lag) * 10)
        np.testing.assert_allclose(found[0, lag, 0], z[b - 20 : b].mean(), rtol=1e-6)
    assert found[1, 1:].any() == 0  # before it began


def test_blood_answers_as_that_of_nilearn():
    from nilearn.glm.first_level.hemodynamic_models import compute_regressor

    frame_T = np.arange(0, 120, 2.0)
    shown = np.array([[6.0, 4.0], [30.0, 2.0], [64.0, 8.0]])
    events = [Event(float(a), float(b), "a") for a, b in shown]
    condition = np.concatenate((shown, np.ones((3, 1))), 1).T
    theirs, _ = compute_regressor(condition, "glover", frame_T)
    mine = through_blood(event_means(events, frame_T)[:, :, None])[:, 0]
    # Theirs goes on for 32 s, ours for 16 s, in bins: the undershoot's tail is what differs.
    assert correlation(mine[:, None], theirs[:, :1])[0] > 0.99
    np.testing.assert_allclose(mine.max(), theirs.max(), rtol=0.1)


def test_a_control_knows_when_and_not_what(toy):
    fold = folds_of(read_shown(toy, "toy"), np.zeros((N, 3)))[0]
    when, what = (np.median(fold.score(SYSTEMS[name]([fold])[0])) for name in (ANYTHING, RIDGE))
    assert 0.1 < when < what - 0.1  # half of the channels answer to each event
    fold.n_labels = 1
    assert SYSTEMS[ANYTHING]([fold]) == [None]


def test_ridge_is_that_of_sklearn_at_the_penalty_of_each_channel():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(80, 10)), rng.normal(size=(10, 3))
    y = x @ w + np.array([0.1, 3.0, 30.0]) * rng.normal(size=(80, 3)) + 5
    run_M = np.repeat(np.arange(4), 20)
    w_FC, b_C = ridge(x, y, run_M)
    for c in range(3):
        all_of_them = [Ridge(alpha=p).fit(x, y[:, c]) for p in PENALTIES]
        near = min(all_of_them, key=lambda m: np.abs(m.coef_ - w_FC[:, c]).max())
        np.testing.assert_allclose(near.coef_, w_FC[:, c], atol=1e-8)
        np.testing.assert_allclose(near.intercept_, b_C[c], atol=1e-8)
    # Noise is met with more penalty.
    assert np.abs(w_FC[:, 0] - w[:, 0]).max() < 0.1 and np.abs(w_FC[:, 2]).max() < 3


def test_ceilings_are_those_of_known_signal_and_noise():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(400, 3))
    size = np.array([0.0, 0.5, 2.0])
    x = size * signal + rng.normal(size=(10, 400, 3))
    truth = size / np.sqrt(size**2 + 1)
    np.testing.assert_allclose(ceiling(x)[1:], truth[1:], atol=0.05)
    assert ceiling(x)[0] < 0.15
    perfect = np.mean([correlation(signal, one) for one in x], 0)
    np.testing.assert_allclose(ceiling(x)[1:], perfect[1:], atol=0.05)


def test_answers_that_run_into_one_another_give_no_share_of_a_ceiling(toy):
    slow = read_shown(toy, "toy")
    fast = [replace(r, events=tuple(e._replace(duration_s=4.0) for e in r.events)) for r in slow]
    assert not overlap(slow) and overlap(fast)  # an event every 11 s, and 8 s to answer
    found = {
        "ceilings": {"a": np.full(3, 0.5)},
        "rows": {RIDGE: {"a": np.full((2, 3), 0.4)}},
        "overlap": False,
    }
    assert _encoding_rows(found, 10)[0]["share of the ceiling"] == pytest.approx(0.8)
    assert np.isnan(_encoding_rows(found | {"overlap": True}, 10)[0]["share of the ceiling"])


def test_a_slice_is_seen_from_one_side_and_a_head_from_three():
    head = np.random.default_rng(0).uniform(-0.06, 0.06, (9, 3))
    assert _views(head) == [(0, 1), (1, 2), (0, 2)]
    assert _views(head * [1, 1, 0]) == [(0, 1)] and _views(head * [1, 0, 0]) == []
    assert _views(np.full((9, 3), np.nan)) == []


def test_runs_are_left_out_and_judged_once(toy):
    runs = read_shown(toy, "toy")
    folds = folds_of(runs, np.zeros((N, 3)))
    assert len(folds) == 4 and sum(len(f.judge) for f in folds) == 5
    for fold in folds:
        assert len(np.unique(fold.run_M)) == 5 - len(fold.judge)
        assert len(fold.x_MLK) == 200 * (5 - len(fold.judge))


def test_one_run_is_halved_with_a_gap_and_a_short_one_is_refused(tmp_path):
    store = store_of(tmp_path, [run(0)])
    (shown,) = read_shown(store, "toy")
    first, second = folds_of([shown], np.zeros((N, 3)))
    assert first.judge[0][1].start - first.y_MC.shape[0] == 20
    assert second.judge[0][1].stop == 90 and len(np.unique(first.run_M)) == 4
    short = store_of(tmp_path / "short", [run(0, frames=60)])
    with pytest.raises(DataError, match="one run of 60 s cannot be halved"):
        folds_of(read_shown(short, "toy"), np.zeros((N, 3)))


def test_known_responses_are_found_near_their_ceiling_and_at_their_lag(toy):
    found = encode(toy, "toy")
    (person,) = found["people"]
    middle = {n: float(np.median(r[person])) for n, r in found["rows"].items()}
    limit = float(np.median(found["ceilings"][person]))
    assert limit > 0.6 and abs(middle[RIDGE] - limit) < 0.1
    assert middle["transformer, a query a region"] > 0.85 * middle[RIDGE]
    assert abs(middle["what was shown at another time"]) < 0.2
    assert found["peak_s"] == 5.0 and set(middle) == set(SYSTEMS)


def test_frames_that_were_lost_teach_nothing_and_are_not_judged(tmp_path):
    made = run(0)
    broken = np.array(made.signal)
    broken[50:60] = 1e4
    made.signal, made.intervals_s = broken, ((0.0, 50.0), (60.0, 200.0))
    (shown,) = read_shown(store_of(tmp_path, [made]), "toy")
    assert not shown.kept_T[50:60].any() and not shown.answers()[50:60].any()
    assert np.abs(shown.x_TC[shown.kept_T]).max() < 6
    again = repeats([shown])
    assert again is None or np.abs(again).max() < 6


def test_runs_without_anything_shown_and_other_channels_are_refused(toy, tmp_path):
    with pytest.raises(DataError, match="holds 0 fMRI runs of 'none'"):
        read_shown(toy, "none")
    rest = run(0)
    rest.events = []
    with pytest.raises(DataError, match="none with events or a stimulus"):
        read_shown(store_of(tmp_path, [rest]), "toy")


def test_the_command_writes_its_page(toy, tmp_path, capsys):
    args = ["encode", f"--store={toy.root}", "--dataset", "toy", f"--out={tmp_path}"]
    assert main([*args, "--resamples=50"]) == 0
    assert "answer most 5 s after" in " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "report.json").read_text())
    assert [r["model"] for r in found["table"]] == list(SYSTEMS)
    assert (tmp_path / "report.html").read_text().count("<figure>") == 3
