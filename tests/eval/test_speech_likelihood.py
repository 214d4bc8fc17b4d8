"""The likelihood ratio by hand, and where it finds what the cosine of the same ridge does not."""

import numpy as np
from scipy.stats import multivariate_normal

from eval.speech.likelihood import SHRINKS, LikelihoodRatio, fitted, told_of_others
from eval.speech.linear import Ridge


def places(score_NN):
    """(N,) place of each segment's own stretch, 1 the best."""
    return (score_NN >= np.diag(score_NN)[:, None]).sum(1)


def cosine(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


def speech(n, seed, loud=6.0):
    """Speech of 12 numbers, and brains that answer to the last four; the others are louder."""
    rng = np.random.default_rng(seed)
    y_NE = rng.normal(size=(n, 12)) * np.r_[np.full(8, loud), np.ones(4)] + 5
    x_NF = y_NE[:, 8:] @ np.random.default_rng(0).normal(size=(4, 10))
    x_NF += 0.3 * rng.normal(size=x_NF.shape)
    # Something of the loud numbers is heard too, with great errors.
    return np.hstack([x_NF, y_NE[:, :8] + 3 * loud * rng.normal(size=(n, 8))]), y_NE


def test_scores_are_logarithms_of_the_ratio_of_two_normal_densities():
    rng = np.random.default_rng(1)
    heard = rng.normal(size=(400, 3)) @ np.array([[2, 0, 0], [1, 1, 0], [0, 0.5, 0.7]]) + 4
    said = heard + rng.normal(size=heard.shape) * (0.5, 1.0, 0.2)
    ratio = LikelihoodRatio.of(said, heard, 0.05)
    extra = 0.05 * heard.var(0).mean() * np.eye(3)
    after = np.cov((heard - said).T, bias=True) + extra
    # Errors are not centred: an average error is an error.
    after += np.outer((heard - said).mean(0), (heard - said).mean(0))
    before = np.cov(heard.T, bias=True) + extra
    found = ratio.scores(said[:5], heard[:7])
    for q in range(5):
        by_hand = [
            multivariate_normal(said[q], after).logpdf(y)
            - multivariate_normal(heard.mean(0), before).logpdf(y)
            for y in heard[:7]
        ]
        apart = found[q] - by_hand
        np.testing.assert_allclose(apart, apart[0], rtol=1e-4, atol=1e-3)


def test_it_leans_on_the_numbers_that_the_brain_tells():
    (x, y), (new_x, new_y) = speech(600, 1), speech(80, 2)
    fold = np.arange(600) // 150
    told = Ridge().fit(x, y, fold).predict(new_x)
    ratio = fitted(told_of_others(x, y, fold), y, fold)
    by_ratio = (places(ratio.scores(told, new_y)) <= 10).mean()
    by_cosine = (places(cosine(told - y.mean(0), new_y - y.mean(0))) <= 10).mean()
    assert by_ratio > 0.7 and by_ratio > by_cosine + 0.1


def test_what_tells_nothing_ranks_at_chance():
    rng = np.random.default_rng(3)
    heard, said = rng.normal(size=(300, 6)), 0.1 * rng.normal(size=(300, 6))
    ratio = fitted(said, heard, np.arange(300) // 75)
    new, guess = rng.normal(size=(200, 6)), 0.1 * rng.normal(size=(200, 6))
    assert 0.01 < (places(ratio.scores(guess, new)) <= 10).mean() < 0.12


def test_nothing_is_learned_from_the_fold_that_is_told(monkeypatch):
    (x, y), fold = speech(80, 4), np.arange(80) // 20
    number_of = {row.tobytes(): i for i, row in enumerate(x)}
    seen = []

    class Spy(Ridge):
        def fit(self, x_NF, y_NK, fold_N):
            self.rows = {number_of[row.tobytes()] for row in x_NF}
            return super().fit(x_NF, y_NK, fold_N)

        def predict(self, x_NF):
            seen.append((self.rows, {number_of[row.tobytes()] for row in x_NF}))
            return super().predict(x_NF)

    monkeypatch.setattr("eval.speech.likelihood.Ridge", Spy)
    told_of_others(x, y, fold)
    assert len(seen) == 4
    for taught, asked in seen:
        assert not taught & asked and len(taught) == 60 and len(asked) == 20


def test_a_single_fold_teaches_nothing_about_itself():
    x, y = speech(30, 5)
    assert not told_of_others(x, y, np.zeros(30, int)).any()
    one = fitted(np.zeros_like(y), y, np.zeros(30, int))
    same = LikelihoodRatio.of(np.zeros_like(y), y, SHRINKS[2])
    np.testing.assert_array_equal(one.after_EE, same.after_EE)


def test_features_that_never_move_do_no_harm():
    x, y = speech(100, 7)
    y[:, 0] = 3.0
    score = LikelihoodRatio.of(y + 0.1, y, 0.1).scores(y[:9], y[:9])
    assert np.isfinite(score).all() and (places(score) == 1).all()
