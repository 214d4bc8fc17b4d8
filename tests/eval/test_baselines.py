"""Classical decoders on trials whose classes are known to be separable, or not."""

import pickle

import numpy as np
import pytest

from eval.baselines import (
    BANDS_HZ,
    BASELINES,
    IMAGERY,
    Majority,
    band_powers,
    bandpass,
    inner_cv,
    make_baseline,
    per_trial_scale,
    window_means,
)

SFREQ = 128.0


def rhythms(n: int = 48, seed: int = 0, scale: float = 1e-13):
    """Class 1 has a 12 Hz rhythm that channels 1 and 2 share, class 0 one on channel 3."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    t = np.arange(256) / SFREQ
    x = rng.normal(size=(n, 4, 256))
    for i in range(n):
        wave = np.sin(2 * np.pi * 12 * t + rng.uniform(0, 6.28))
        x[i, [0, 1] if y[i] else [2]] += 1.5 * wave
    return (scale * x).astype(np.float32), y


def steps(n: int = 48, seed: int = 0):
    """Class 1 is higher in the second half of the trial."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 4, 256))
    x[:, 0, 128:] += 2.0 * y[:, None]
    return x.astype(np.float32), y


def accuracy(name: str, make, **kwargs) -> float:
    x, y = make()
    x_test, y_test = make(n=24, seed=1)
    decoder = make_baseline(name, SFREQ, **kwargs).fit(x, y)
    p = decoder.predict_proba(x_test)
    assert p.shape == (24, 2)
    assert np.allclose(p.sum(1), 1, atol=1e-5)
    return float((p.argmax(1) == y_test).mean())


@pytest.mark.parametrize(
    "name", [n for n in (*BASELINES, *IMAGERY) if n.split()[0] in ("band", "Riemann", "CSP")]
)
def test_rhythms_are_decoded_from_power_and_covariance_whatever_the_unit(name):
    assert accuracy(name, rhythms) > 0.9


def test_steps_are_decoded_from_window_means():
    assert accuracy("window means + LR", steps) > 0.9


def test_eegnet_learns_a_step_and_repeats_itself_with_the_same_seed():
    x, y = steps()
    a, b = (make_baseline("EEGNet", SFREQ, 3).fit(x, y).predict_proba(x) for _ in range(2))
    assert np.array_equal(a, b)
    assert (a.argmax(1) == y).mean() > 0.9


@pytest.mark.parametrize("name", [*BASELINES, *IMAGERY])
def test_fitted_baselines_travel_between_processes(name):
    x, y = rhythms(16)
    fitted = make_baseline(name, SFREQ)
    if name == "EEGNet":
        fitted.epochs = 2
    fitted.fit(x, y)
    other = pickle.loads(pickle.dumps(fitted))
    assert np.allclose(other.predict_proba(x), fitted.predict_proba(x), atol=1e-6)


def test_majority_predicts_class_frequencies():
    p = (
        Majority()
        .fit(np.zeros((4, 1, 2)), np.array([0, 1, 1, 1]))
        .predict_proba(np.zeros((2, 1, 2)))
    )
    assert np.allclose(p, [[0.25, 0.75]] * 2)


def test_permuted_labels_leave_a_baseline_at_chance():
    x, y = rhythms(96)
    y = np.random.default_rng(5).permutation(y)
    x_test, y_test = rhythms(96, seed=1)
    p = make_baseline("band power + LR", SFREQ).fit(x, y).predict_proba(x_test)
    assert 0.2 < (p.argmax(1) == y_test).mean() < 0.8


def test_window_means_of_a_ramp_are_its_steps():
    x = np.arange(8.0)[None, None]
    assert window_means(x, 4, False).tolist() == [[0.5, 2.5, 4.5, 6.5]]


def test_per_trial_scale_removes_amplitude_and_leaves_flat_trials():
    x, _ = steps()
    assert np.allclose(per_trial_scale(100 * x), per_trial_scale(x), atol=1e-4)
    assert np.isfinite(per_trial_scale(np.zeros((1, 2, 8)))).all()


def test_band_power_peaks_where_the_sine_is():
    t = np.arange(512) / SFREQ
    x = np.sin(2 * np.pi * 10 * t)[None, None]
    power = band_powers(x, SFREQ)
    assert BANDS_HZ[int(power.argmax())] == (8.0, 13.0)


def test_band_pass_keeps_the_band_and_removes_the_rest():
    t = np.arange(512) / SFREQ
    low, inside = (np.sin(2 * np.pi * f * t)[None, None] for f in (2.0, 15.0))
    assert bandpass(low, SFREQ, (8, 30)).std() < 0.1 * low.std()
    assert bandpass(inside, SFREQ, (8, 30)).std() > 0.9 * inside.std()


def test_inner_folds_keep_runs_whole_where_runs_hold_every_class():
    y = np.tile([0, 1], 20)
    run = np.repeat(["a", "b"], 20)
    folds = inner_cv(y, run)
    assert len(folds) == 2
    for train, test in folds:
        assert not set(run[train]) & set(run[test])


def test_inner_folds_are_contiguous_in_each_recording_where_runs_are_unequal():
    y = np.tile([0, 1], 24)
    recording = np.repeat(["a", "b"], [42, 6])
    folds = inner_cv(y, recording)
    assert len(folds) == 3
    for f, (train, test) in enumerate(folds):
        want = [*range(14 * f, 14 * f + 14), *range(42 + 2 * f, 44 + 2 * f)]
        assert test.tolist() == want
        assert sorted([*train, *test]) == list(range(48))
        assert set(y[test]) == set(y[train]) == {0, 1}


def test_an_unknown_baseline_names_the_known_ones():
    with pytest.raises(KeyError, match="EEGNet"):
        make_baseline("deep magic", SFREQ)
