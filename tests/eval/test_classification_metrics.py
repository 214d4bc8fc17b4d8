"""Scores against scikit-learn, and intervals against what is known to be true."""

import numpy as np
import pytest
from sklearn import metrics as sk

from eval.metrics.classification import (
    METRICS,
    confusion,
    paired_difference,
    resample_weights,
    scores,
    summarise,
)


def guesses(n: int = 200, k: int = 4, signal: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + signal * np.eye(k)[y]
    p = np.exp(logits)
    return y, p / p.sum(1, keepdims=True)


def test_scores_agree_with_scikit_learn():
    y, p = guesses()
    g = p.argmax(1)
    found = scores(y, p)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, g))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, g))
    assert found["kappa"] == pytest.approx(sk.cohen_kappa_score(y, g))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(y, g, average="macro"))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))


def test_two_class_auroc_counts_ties_one_half():
    y = np.array([0, 0, 1, 1, 1])
    p1 = np.array([0.2, 0.5, 0.5, 0.9, 0.1])
    p = np.stack([1 - p1, p1], 1)
    assert scores(y, p)["auroc"] == pytest.approx(sk.roc_auc_score(y, p1))


def test_perfect_predictions_score_one_and_their_interval_is_a_point():
    y = np.arange(40) % 4
    found = summarise(y, [np.eye(4)[y]], n_resamples=50)
    for metric in METRICS:
        assert found[metric]["mean"] == pytest.approx(1.0)
        assert found[metric]["low"] == pytest.approx(1.0)


def test_predictions_unrelated_to_labels_are_at_chance():
    y, p = guesses(4000, signal=0.0)
    found = summarise(y, [p], n_resamples=300)
    assert found["balanced_accuracy"]["low"] < 0.25 < found["balanced_accuracy"]["high"]
    assert found["kappa"]["low"] < 0.0 < found["kappa"]["high"]
    assert found["auroc"]["low"] < 0.5 < found["auroc"]["high"]


def test_intervals_hold_the_truth_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    held = 0
    for i in range(100):
        right = rng.random(150) < 0.7
        y = np.arange(150) % 2
        p = np.eye(2)[np.where(right, y, 1 - y)]
        a = summarise(y, [p], n_resamples=200, seed=i)["accuracy"]
        held += a["low"] <= 0.7 <= a["high"]
    assert 88 <= held <= 100


def test_resampling_whole_subjects_widens_the_interval():
    # Ten subjects, each all right or all wrong: ten draws, not two hundred.
    y = np.arange(200) % 2
    subject = np.repeat(np.arange(10), 20)
    p = np.eye(2)[np.where(subject % 2 == 0, y, 1 - y)]
    by_trial = summarise(y, [p], n_resamples=400)["accuracy"]
    by_subject = summarise(y, [p], n_resamples=400, groups=subject)["accuracy"]
    width = [d["high"] - d["low"] for d in (by_trial, by_subject)]
    assert width[1] > 2 * width[0]


def test_group_weights_are_equal_inside_a_group():
    w = resample_weights(6, 20, 0, ["a", "a", "b", "b", "b", "c"])
    assert (w[:, 0] == w[:, 1]).all() and (w[:, 2] == w[:, 4]).all()
    assert w.sum(1).max() > 0


def test_seeds_give_a_mean_and_a_spread():
    y, a = guesses(seed=0)
    _, b = guesses(seed=0, signal=3.0)
    found = summarise(y, [a, b], n_resamples=50)["accuracy"]
    assert found["mean"] == pytest.approx(np.mean(found["seeds"]))
    assert found["sd"] == pytest.approx(np.std(found["seeds"], ddof=1))
    assert summarise(y, [a], n_resamples=50)["accuracy"]["sd"] is None


def test_a_decoder_compared_with_itself_differs_by_nothing():
    y, p = guesses()
    d = paired_difference(y, [p], [p])
    assert d["difference"] == d["low"] == d["high"] == 0.0
    assert d["p"] == 1.0


def test_a_clear_difference_excludes_zero_and_changes_sign_when_swapped():
    y, weak = guesses(signal=0.0)
    strong = np.eye(4)[y]
    d, e = paired_difference(y, [strong], [weak]), paired_difference(y, [weak], [strong])
    assert d["low"] > 0.5 and d["p"] < 0.01
    assert e["difference"] == pytest.approx(-d["difference"])


def test_a_class_that_is_absent_does_not_count():
    y = np.array([0, 0, 1, 1])
    p = np.eye(3)[[0, 0, 1, 0]]
    found = scores(y, p)
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert np.isfinite(found["auroc"])


def test_one_class_alone_has_no_auroc():
    assert np.isnan(scores(np.zeros(4, int), np.eye(2)[[0, 0, 1, 0]])["auroc"])


def test_confusion_counts_true_by_row():
    assert confusion([0, 0, 1], [0, 1, 1], 2).tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("y", "p", "word"),
    [
        ([0, 1], np.full((2, 2), np.nan), "NaN"),
        ([0, 2], np.eye(2), "no column"),
        ([0, 1, 1], np.eye(2), "3 labels"),
    ],
)
def test_bad_predictions_are_refused_in_words(y, p, word):
    with pytest.raises(ValueError, match=word):
        scores(y, p)
