"""Dissimilarities have their closed forms, are 0 without effect, and compare as ranks do."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau, spearmanr

from eval.fmri.rsa import (
    alike,
    bootstrap,
    correlation_distance,
    crossnobis,
    geo_topological,
    n_conditions,
    noise_ceiling,
    pairs,
    patterns,
    reliability,
    shrunk_covariance,
    square,
)


def runs(effect=1.0, noise=1.0, r=8, k=6, c=50, seed=0):
    rng = np.random.default_rng(seed)
    return effect * rng.normal(size=(k, c)) + noise * rng.normal(size=(r, k, c))


def test_correlation_distance_is_scipys():
    x = runs()[0]
    np.testing.assert_allclose(correlation_distance(x), pdist(x, "correlation"))


def test_without_noise_crossnobis_is_the_squared_distance_a_voxel():
    x = runs(noise=0.0)
    np.testing.assert_allclose(crossnobis(x), pdist(x[0], "sqeuclidean") / 50)
    noise = np.diag(np.linspace(1, 3, 50))
    weighted = pdist(x[0] / np.sqrt(np.diag(noise)), "sqeuclidean") / 50
    np.testing.assert_allclose(crossnobis(x, noise), weighted)


def test_crossnobis_is_the_mean_over_pairs_of_different_runs():
    x = runs(r=3, k=3, c=4)
    by_hand = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        d = [x[r, i] - x[r, j] for r in range(3)]
        by_hand.append(np.mean([d[r] @ d[s] for r in range(3) for s in range(3) if r != s]) / 4)
    np.testing.assert_allclose(crossnobis(x), by_hand)
    with pytest.raises(ValueError, match="1 run cannot be crossvalidated"):
        crossnobis(x[:1])


def test_without_effect_crossnobis_is_zero_on_the_average_and_others_are_not():
    means = [crossnobis(runs(effect=0.0, seed=s)).mean() for s in range(60)]
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(60)
    assert pdist(runs(effect=0.0).mean(0), "sqeuclidean").mean() / 50 > 0.1


def test_similarities_are_scipys_without_ties():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 15))
    assert alike(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert alike(a, b, "tau-a") == pytest.approx(kendalltau(a, b).statistic)
    assert alike(a, 3 * a, "cosine") == pytest.approx(1.0)
    tied = np.array([0.0, 0.0, 1.0])
    assert alike(tied, np.array([0.0, 1.0, 2.0]), "tau-a") == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="none of spearman"):
        alike(a, b, "pearson")


def test_the_transform_keeps_neighbours_and_forgets_the_far():
    d = np.arange(10.0)
    out = geo_topological(d, 0.2, 0.8)
    assert (out[:2] == 0).all() and (out[8:] == 1).all() and (np.diff(out) >= 0).all()
    np.testing.assert_allclose(geo_topological(d, 0, 1), d / 9)
    assert set(geo_topological(d, 0.5, 0.5)) == {0.0, 1.0}
    far = d.copy()
    far[9] = 1e6
    np.testing.assert_allclose(geo_topological(far), out)
    with pytest.raises(ValueError, match="do not rise"):
        geo_topological(d, 0.9, 0.1)


def test_intervals_hold_the_similarity_and_unrelated_rdms_are_around_zero():
    x = runs(noise=0.5)
    a, b = crossnobis(x[:4]), crossnobis(x[4:])
    found = bootstrap(a, b, n_resamples=100)
    assert found["low"] <= found["mean"] <= found["high"] + 1e-9 and found["mean"] > 0.5
    other = bootstrap(a, crossnobis(runs(seed=5)), n_resamples=100)
    assert other["low"] < 0.2


def test_ceilings_enclose_the_truth():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=28)
    people = truth + 0.5 * rng.normal(size=(10, 28))
    lower, upper = noise_ceiling(people)
    reached = np.mean([alike(p, truth) for p in people])
    assert lower < reached < upper + 0.02 and lower < upper
    with pytest.raises(ValueError, match="1 person has no ceiling"):
        noise_ceiling(people[:1])


def test_halves_agree_where_there_is_an_effect():
    strong, none = reliability(runs(noise=0.7)), reliability(runs(effect=0.0))
    assert strong["spearman"] > 0.5 and strong["geo-topological"] > 0.4
    assert abs(strong["shuffled"]) < 0.3 and abs(none["spearman"]) < 0.35


def test_triangles_and_squares_are_each_others_inverse():
    d = np.arange(6.0)
    assert n_conditions(d) == 4
    np.testing.assert_array_equal(pairs(square(d)), d)
    with pytest.raises(ValueError, match="7 distances are those of no number"):
        square(np.arange(7.0))


def test_noise_covariance_can_be_inverted_with_more_voxels_than_rows():
    noise = shrunk_covariance(np.random.default_rng(0).normal(size=(10, 30)))
    assert np.linalg.eigvalsh(noise).min() > 0


def test_patterns_leave_out_runs_that_lack_a_category():
    blocks = {
        "x_NC": np.arange(10.0)[:, None].repeat(2, 1),
        "label_N": np.array(["a", "b", "a", "b", "a"] * 2),
        "run_N": np.array([0] * 5 + [1] * 5),
    }
    x, names = patterns(blocks)
    assert names == ["a", "b"] and x.shape == (2, 2, 2)
    assert x[0, 0, 0] == 2.0  # mean of 0, 2 and 4
    blocks["label_N"][5:] = "a"
    assert patterns(blocks)[0].shape == (1, 2, 2)
