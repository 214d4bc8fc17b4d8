"""The linear baselines: what they see, and that what they choose comes from training rows."""

import numpy as np
import pytest
from listeners import PREPROCESS, SOUNDS, TARGETS, listeners

from brainfm.signals.phonemes import phoneme_symbol
from eval.speech.frames import _average, labels
from eval.speech.linear import ALPHAS, Logistic, Ridge, Standard, fold_of
from eval.speech.regression import correlations
from eval.speech.spectrogram import BANDS_HZ, BINS, LAGS_S, Patient, frames_of, n_frames
from eval.speech.windows import plan_windows, transcript


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return plan_windows(listeners(tmp_path_factory.mktemp("a")), TARGETS["ctc"], PREPROCESS)


def test_a_frame_tells_which_contact_is_loud_in_which_band(plan):
    w = plan.test[0]
    frames = Patient(plan.store).frames(w, n_frames(plan.store, w))
    bands = sum(lo < 64 for lo, _ in BANDS_HZ)
    x_NCB = frames.reshape(len(frames), len(SOUNDS), bands + 1)
    for k, symbol in enumerate(map(phoneme_symbol, w.symbols)):
        middle = int((k + 0.5) * 0.2 * 25)
        beta_C = x_NCB[middle, :, 2]  # 13 to 30 Hz
        assert SOUNDS[int(beta_C.argmax())] == symbol


def test_the_voltage_is_a_feature_and_gaps_are_no_numbers_lost(plan):
    x_NF = frames_of(plan.store, plan.test[0].ref.recording)
    assert np.isfinite(x_NF).all() and x_NF.dtype == np.float32
    bands = sum(lo < 64 for lo, _ in BANDS_HZ)
    assert np.abs(x_NF.reshape(len(x_NF), -1, bands + 1)[..., -1]).max() < 1e-3  # volts


def test_lags_look_later_and_never_behind_the_window(plan):
    w, frames = plan.test[0], Patient(plan.store)
    n = n_frames(plan.store, w)
    flat, lagged = frames.frames(w, n), frames.lagged(w, n)
    size, last = flat.shape[1], round(LAGS_S[-1] * 25)
    assert np.array_equal(lagged[:, :size], flat)
    assert np.array_equal(lagged[0, -size:], flat[last])
    assert np.array_equal(lagged[-1, -size:], flat[-1])
    assert frames.binned([w]).shape == (1, BINS * size)


def test_labels_of_frames_are_the_phonemes_of_the_target_alone(plan):
    w = plan.test[0]
    said = transcript(plan.store, w.ref.recording)
    n = n_frames(plan.store, w)
    found = labels(said, w, w.ref.start / 128, n)
    assert found[2] == w.symbols[0] and found[7] == w.symbols[1]
    # The window goes on after its sentence, and the next one is not its business.
    assert (found[round((w.stop_s - w.start_s) * 25) + 1 :] == 0).all()


def test_folds_hold_whole_sentences(plan):
    fold = fold_of(plan.train, 4)
    names = [w.sentence for w in plan.train]
    assert set(fold) == {0, 1, 2, 3}
    assert len({(n, f) for n, f in zip(names, fold, strict=True)}) == len(set(names))


def test_ridge_finds_the_weights_and_leans_on_the_mean_where_there_is_nothing():
    rng = np.random.default_rng(0)
    x, fold = rng.normal(size=(400, 5)), np.arange(400) // 100
    w = rng.normal(size=(5, 2))
    model = Ridge().fit(x, x @ w + 3, fold)
    assert model.alpha == ALPHAS[0]
    assert np.abs(model.predict(x) - x @ w - 3).max() < 0.3
    nothing = Ridge().fit(x, rng.normal(size=(400, 2)) + 7, fold)
    assert nothing.alpha >= 1e3
    assert np.abs(nothing.predict(x) - 7).max() < 0.5


def test_logistic_regression_learns_and_knows_classes_it_never_saw():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 2], 60)
    x = rng.normal(size=(120, 4)) + 3 * (y[:, None] == 2)
    order = rng.permutation(120)
    fold = np.arange(120) // 30
    p = Logistic(4).fit(x[order], y[order], fold).proba(x)
    assert p.shape == (120, 4) and (p.argmax(1) == y).mean() > 0.97
    assert not p[:, [1, 3]].any()
    one = Logistic(3).fit(x[:4], np.full(4, 2), np.zeros(4, int)).proba(x[:2])
    assert one.tolist() == [[0, 0, 1]] * 2


def test_the_last_sentences_choose_the_penalty():
    rng = np.random.default_rng(0)
    y, x = rng.integers(0, 2, 200), rng.normal(size=(200, 60))
    fold = np.arange(200) // 50
    # A rule that breaks in what chooses makes for less trust than one that holds there.
    x[:, 0] += 3 * y
    holds = Logistic(2).fit(x, y, fold).c
    x[fold == 3, 0] -= 6 * y[fold == 3]
    assert Logistic(2).fit(x, y, fold).c < holds


def test_a_feature_that_never_moved_is_nothing():
    x = np.column_stack([np.ones(9), np.arange(9.0)])
    z = Standard.of(x)(x + [[5.0, 0.0]])
    assert not z[:, 0].any() and z[:, 1].std() == pytest.approx(1)


def test_probabilities_are_averaged_over_frames():
    logp = np.log(np.array([[0.9, 0.1], [0.3, 0.7], [0.9, 0.1]], np.float32))
    assert np.array_equal(_average(logp, 1), logp)
    assert np.exp(_average(logp, 3))[1] == pytest.approx([0.7, 0.3])
    assert np.array_equal(_average(logp, 5), logp)  # shorter than that


def test_correlation_counts_a_constant_answer_as_nothing():
    y = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    y[:, 2] = 1.0
    x = np.column_stack([y[:, 0] * 2 + 1, np.full(50, 4.0), y[:, 0]])
    r = correlations(x, y)
    assert r[0] == pytest.approx(1) and r[1] == 0 and np.isnan(r[2])
