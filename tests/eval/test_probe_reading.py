"""Pools, amplitudes, alignment and the wide regression, against independent computations."""

import numpy as np
import pytest
import scipy.linalg

from brainfm.data.synthetic import synthetic_channels
from brainfm.errors import ContractError
from brainfm.types import SignalBatch
from eval.probe.align import EuclideanAlignment
from eval.probe.features import (
    POOLS,
    Candidate,
    candidates_of,
    flat,
    log_covariance,
    taps_of,
    time_mean,
    tokenizer_of,
    trial_scale,
    with_amplitude,
)
from eval.probe.frozen import MOST_MEMBERS, Member, as_good_as_the_best
from eval.probe.linear import WideLogistic, shifts_of


def features(n=3, s=4, w=20, d=5, seed=0):
    mix = np.random.default_rng(seed + 1).normal(size=(s, s))
    h = np.random.default_rng(seed).normal(size=(n, s, w, d))
    return np.einsum("rs,nswd->nrwd", mix, h).astype(np.float32)


def test_log_covariance_is_that_of_scipy():
    h, shrink = features(), 0.05
    found = log_covariance(h, shrink)
    for i, one in enumerate(h):
        c = np.cov(one.reshape(4, -1).astype(np.float64), bias=True)
        log_c = scipy.linalg.logm(c + shrink * np.trace(c) / 4 * np.eye(4)).real
        want = [log_c[a, b] * (1 if a == b else 2**0.5) for a in range(4) for b in range(a, 4)]
        assert np.allclose(found[i], want, atol=1e-6)


def test_distances_of_log_covariances_are_those_of_matrices():
    found = log_covariance(features(n=2), shrink=0.0)
    logs = []
    for one in features(n=2):
        logs.append(scipy.linalg.logm(np.cov(one.reshape(4, -1), bias=True)).real)
    assert np.linalg.norm(found[0] - found[1]) == pytest.approx(
        np.linalg.norm(logs[0] - logs[1]), rel=1e-4
    )


def test_log_covariance_of_a_silent_source_is_finite():
    h = features()
    h[:, 2] = 0.0
    assert np.isfinite(log_covariance(h)).all()
    assert np.isfinite(log_covariance(np.zeros_like(h))).all()


def test_log_covariance_does_not_ask_when_things_happened():
    h = features()
    turn = np.random.default_rng(5).permutation(h.shape[2])
    assert np.allclose(log_covariance(h), log_covariance(h[:, :, turn]), atol=1e-6)
    assert not np.allclose(flat(h), flat(h[:, :, turn]))


def test_flat_keeps_every_value_and_the_mean_keeps_sources_apart():
    h = np.arange(2 * 3 * 4 * 5, dtype=float).reshape(2, 3, 4, 5)
    assert np.array_equal(flat(h)[1], h[1].ravel())
    mean = time_mean(h)
    assert mean.shape == (2, 15)
    assert mean[0, 0] == np.mean([0, 5, 10, 15]) and mean[1, 14] == h[1, 2, :, 4].mean()


@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_reads_each_trial_by_itself(pool):
    h = features(n=4)
    whole = POOLS[pool](h)
    assert whole.shape[0] == 4 and whole.ndim == 2
    assert np.allclose(whole[2:3], POOLS[pool](h[2:3]), atol=1e-6)


def test_amplitude_is_relative_to_a_usual_trial_and_limited():
    h = np.ones((4, 1, 1, 1), np.float32)
    found = with_amplitude(h, np.array([2e-5, 4e-5, 1.0, 1e-12]), 2e-5).ravel()
    assert found.tolist() == pytest.approx([1.0, 2.0, 10.0, 0.1])
    assert found.dtype == np.float32


def test_the_scale_of_a_trial_is_the_geometric_mean_over_usable_channels():
    import torch

    scale = torch.tensor([[1.0, 4.0, 1e9], [2.0, 2.0, 2.0]])
    valid = torch.tensor([[True, True, False], [True, True, True]])
    some = torch.zeros(2, 3, 3)
    batch = SignalBatch(
        x_BCWP=torch.zeros(2, 3, 1, 8),
        pos_BC3=some,
        ori_BC3=some,
        kind_BC=torch.zeros(2, 3, dtype=torch.int64),
        valid_BC=valid,
        time_BW=torch.zeros(2, 1, dtype=torch.float64),
        scale_BC=scale,
        offset_BC=torch.zeros(2, 3),
        sfreq=64.0,
    )
    assert trial_scale(batch).tolist() == pytest.approx([2.0, 2.0])


def test_candidates_say_how_they_read():
    assert str(Candidate("sensors", "flat", True, True)) == "sensors, flat, aligned, amplitude"
    assert str(Candidate("codes", "flat")) == "codes, flat"


def test_candidates_of_a_codec_are_told_apart_by_their_names():
    from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig

    codec = BrainTokenizer(BrainTokenizerConfig(preset="test"))
    names = [str(c) for c in candidates_of(codec)]
    assert len(names) == len(set(names))
    assert {c.tap for c in candidates_of(codec)} == set(taps_of(codec))
    assert tokenizer_of(codec) is codec


def test_a_model_the_probe_does_not_know_is_refused_by_name():
    import torch

    with pytest.raises(ContractError, match="Linear"):
        tokenizer_of(torch.nn.Linear(1, 1))


def separable(n=40, f=300, k=2, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    return rng.normal(size=(n, f)) + 2.0 * np.eye(k, f)[y], y


def test_the_inner_score_is_that_of_scikit_learn_on_all_features():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    from eval.baselines import inner_cv

    f, y = separable()
    scaled = (f - f.mean(0)) / (f - f.mean(0)).std()
    direct = cross_val_score(
        LogisticRegression(C=0.01, max_iter=2000),
        scaled,
        y,
        cv=inner_cv(y),
        scoring="balanced_accuracy",
    )
    assert WideLogistic([0.01]).fit(f, y).score == pytest.approx(direct.mean())


def test_the_regression_chooses_the_best_of_its_grid():
    f, y = separable()
    each = {c: WideLogistic([c]).fit(f, y).score for c in (1e-4, 1e-2, 1.0)}
    both = WideLogistic(tuple(each)).fit(f, y)
    assert both.score == pytest.approx(max(each.values())) == pytest.approx(each[both.c])


def test_the_regression_judges_new_trials_as_scikit_learn_does():
    from sklearn.linear_model import LogisticRegression

    (f, y), (new, _) = separable(k=3), separable(k=3, seed=1)
    wide = WideLogistic([0.01]).fit(f, y)
    centre, scale = f.mean(0), (f - f.mean(0)).std()
    direct = LogisticRegression(C=0.01, max_iter=2000, tol=1e-8).fit((f - centre) / scale, y)
    want = direct.predict_proba((new - centre) / scale)
    assert np.allclose(wide.predict_proba(new), want, atol=2e-3)


@pytest.mark.parametrize("change", [lambda f: 1e-6 * f, lambda f: f + 100.0])
def test_the_regression_ignores_unit_and_offset_of_the_features(change):
    f, y = separable()
    a, b = WideLogistic().fit(f, y), WideLogistic().fit(change(f), y)
    assert a.c == b.c
    assert np.allclose(a.predict_proba(f), b.predict_proba(change(f)), atol=1e-3)


def test_features_that_never_move_leave_the_regression_at_chance():
    y = np.arange(12) % 2
    wide = WideLogistic().fit(np.ones((12, 5)), y)
    assert wide.score == pytest.approx(0.5)
    assert np.allclose(wide.predict_proba(np.ones((3, 5))), 0.5, atol=1e-6)


def sensors(n=30, c=6, seed=0, scale=1e-5):
    """Trials in which neighbours share most of their variance."""
    rng = np.random.default_rng(seed)
    mix = np.eye(c) + 0.9 * np.ones((c, c))
    return scale * np.einsum("cd,ndt->nct", mix, rng.normal(size=(n, c, 200)))


def correlation(x_NCT):
    c = np.einsum("nct,ndt->cd", x_NCT, x_NCT)
    d = np.sqrt(np.diag(c))
    return c / np.outer(d, d)


def test_aligned_trials_are_white_on_average_also_those_never_seen():
    channels = synthetic_channels("EEG", 6)
    align = EuclideanAlignment().fit(sensors(), channels)
    assert correlation(sensors()).min() > 0.5
    for seed, limit in ((0, 0.02), (1, 0.1)):
        off = correlation(align.transform(sensors(seed=seed))) - np.eye(6)
        assert np.abs(off).max() < limit


def test_alignment_keeps_loud_trials_louder_than_quiet_ones():
    x = sensors() * np.linspace(1, 4, 30)[:, None, None]
    aligned = EuclideanAlignment().fit(x, synthetic_channels("EEG", 6)).transform(x)
    assert aligned[-1].std() / aligned[0].std() == pytest.approx(4, rel=0.1)


def test_aligned_outputs_stay_closest_to_their_own_sensor():
    rng = np.random.default_rng(0)
    x = sensors()
    x += 1e-5 * rng.normal(size=x.shape)
    aligned = EuclideanAlignment().fit(x, synthetic_channels("EEG", 6)).transform(x)
    match = np.corrcoef(np.concatenate(x, 1), np.concatenate(aligned, 1))[:6, 6:]
    assert (match.argmax(1) == np.arange(6)).all()


def test_kinds_of_sensors_are_not_mixed():
    channels = synthetic_channels("MEG", 6)
    x = sensors(c=6, scale=1e-13)
    matrix = EuclideanAlignment().fit(x, channels).matrix_CC
    other = channels.kind[:, None] != channels.kind[None]
    assert other.any() and not matrix[other].any() and np.abs(matrix[~other]).min() > 0


def test_copies_of_a_trial_never_stand_on_both_sides_of_a_fold():
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(60, 200)), rng.permutation(np.arange(60) % 2)
    # Noise: only somebody who saw a trial's twin could name its class.
    copies = np.concatenate([f, f + 1e-3, f - 1e-3])
    assert WideLogistic().fit(copies, y, copies=3).score < 0.7


def test_equal_copies_weigh_as_much_as_a_weaker_penalty():
    rng = np.random.default_rng(1)
    f = rng.normal(size=(40, 12))
    y = (f[:, 0] + 0.5 * rng.normal(size=40) > 0).astype(int)
    one = WideLogistic([0.2], ["shared"]).fit(f, y)
    two = WideLogistic([0.1], ["shared"]).fit(np.tile(f, (2, 1)), y, copies=2)
    assert np.allclose(one.predict_proba(f), two.predict_proba(f), atol=5e-3)
    assert one.score == pytest.approx(two.score)


@pytest.mark.parametrize("sfreq, samples", [(256.0, (0, -6, 6)), (100.0, (0, -2, 2)), (8.0, (0,))])
def test_shifts_are_whole_samples_and_begin_with_none(sfreq, samples):
    assert shifts_of(sfreq) == samples


def member(score):
    probe = WideLogistic()
    probe.score = score
    return Member(Candidate("sensors", "flat"), 1.0, probe)


def test_only_what_the_training_set_cannot_tell_from_the_best_predicts_with_it():
    # One standard error of .9 over 100 trials is .03.
    found = [member(s) for s in (0.86, 0.88, 0.9, 0.5)]
    assert [m.probe.score for m in as_good_as_the_best(found, 100)] == [0.9, 0.88]
    assert [m.probe.score for m in as_good_as_the_best(found, 10_000)] == [0.9]
    assert len(as_good_as_the_best([member(0.9)] * 9, 100)) == MOST_MEMBERS
    # Who never errs leaves no room for others that do.
    assert len(as_good_as_the_best([member(1.0), member(0.99)], 100)) == 1
