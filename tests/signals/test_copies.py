import numpy as np
import pytest
from signals_helpers import eeg, pink

from brainfm.signals.copies import Copy, find_copies, groups


def wrong_stride(n_trials, n_channels, n_samples, seed=0):
    """Trials as a reshape with the wrong stride leaves them: row k + 1 is row k, C later."""
    x = pink(n_trials * (n_samples + n_channels**2), 1, seed)[:, 0].reshape(n_trials, -1)
    rows = [x[:, k * n_channels : k * n_channels + n_samples] for k in range(n_channels)]
    x_TC = np.stack(rows, -1).reshape(-1, n_channels)
    return x_TC, [(i * n_samples, (i + 1) * n_samples) for i in range(n_trials)]


@pytest.mark.parametrize(("c", "n", "trials"), [(6, 896, 20), (7, 1152, 20), (28, 50, 100)])
def test_one_electrode_posing_as_many(c, n, trials):
    x_TC, spans = wrong_stride(trials, c, n)
    found = find_copies(x_TC, spans)
    assert groups(found) == [list(range(c))]
    assert {f.lag for f in found if f.copy - f.original == 1} == {c}


def test_a_copy_is_found_whatever_its_scale_sign_and_lag():
    x_TC = eeg(3000, 4)
    x_TC = np.column_stack([x_TC, np.roll(x_TC[:, 1], -37) * -2.5, x_TC[:, 2] * 0.1 + 4e-5])
    found = find_copies(x_TC[:2900])
    assert [(f.original, f.copy, f.lag) for f in found] == [(1, 4, 37), (2, 5, 0)]
    scales = {f.lag: f.scale for f in found}
    assert scales[37] == pytest.approx(-2.5, rel=1e-3)
    assert scales[0] == pytest.approx(0.1, rel=1e-3)


def test_a_copy_through_a_coarse_converter_is_found():
    x_TC = eeg(3000, 3)
    step = 5e-7
    x_TC = np.column_stack([x_TC, 1.7 * np.roll(x_TC[:, 0], -12)])
    found = find_copies(np.round(x_TC / step)[:2900] * step)
    assert [(f.original, f.copy, f.lag) for f in found] == [(0, 3, 12)]


def test_neighbours_that_share_most_of_their_signal_are_no_copies():
    shared, own = pink(6000, 1, 1), pink(6000, 12, 2)
    assert np.corrcoef((shared + 0.03 * own).T)[0, 1] > 0.998
    assert find_copies(shared + 0.03 * own) == []


def test_unreferenced_channels_under_one_common_mode_are_no_copies():
    hum = 300 * np.sin(np.arange(5000) * 2 * np.pi * 50 / 512)[:, None]
    drift = 2000 * pink(5000, 1, 3, exponent=2)
    x_TC = pink(5000, 32, 4) + hum + drift
    assert np.corrcoef(x_TC.T)[0, 1] > 0.9999
    assert find_copies(x_TC) == []


def test_line_noise_in_phase_is_no_copy():
    t = np.arange(4000)[:, None]
    x_TC = 100 * np.sin(2 * np.pi * t / 20 + np.arange(4)) + pink(4000, 4) * 0.1
    assert find_copies(x_TC) == []


def test_shared_slow_drift_is_no_copy():
    drift = 1e4 * np.linspace(0, 1, 4000)[:, None] ** 2
    assert find_copies(pink(4000, 4) + drift) == []


def test_bridged_electrodes_are_copies_at_lag_zero():
    x_TC = eeg(4000, 16)
    x_TC[:, 5] = x_TC[:, 4] + 1e-9 * np.random.default_rng(0).standard_normal(4000)
    assert [(f.original, f.copy, f.lag) for f in find_copies(x_TC)] == [(4, 5, 0)]


def test_two_channels_under_an_average_reference_are_one():
    x = eeg(3000, 2)
    found = find_copies(x - x.mean(1, keepdims=True))
    assert len(found) == 1 and found[0].scale == pytest.approx(-1, abs=1e-6)


def test_three_channels_under_an_average_reference_are_three():
    x = eeg(3000, 3)
    assert find_copies(x - x.mean(1, keepdims=True)) == []


def test_flat_channels_are_nobodys_copies():
    x = eeg(3000, 4)
    x[:, [1, 2]] = 0.0
    assert find_copies(x) == []


def test_teslas_and_volts_behave_alike():
    x_TC, spans = wrong_stride(10, 6, 400)
    for scale in (1e-15, 1e-6, 1.0, 1e6):
        assert len(find_copies(x_TC * scale, spans)) == 15


def test_too_little_signal_is_no_evidence():
    assert find_copies(np.tile(eeg(12, 1), 3)) == []
    assert find_copies(np.zeros((0, 3))) == []


def test_groups_join_chains():
    chain = [Copy(3, 5, 0, 1.0), Copy(5, 9, 0, 1.0), Copy(0, 1, 2, 1.0)]
    assert groups(chain) == [[0, 1], [3, 5, 9]]


@pytest.mark.parametrize(("c", "n", "trials"), [(6, 896, 20), (7, 1152, 20), (28, 50, 100)])
def test_a_wrong_stride_is_found_in_trials_joined_without_a_mark(c, n, trials):
    x_TC, _ = wrong_stride(trials, c, n)
    found = [f for f in find_copies(x_TC) if f.lag > 0]
    assert {(f.original, f.copy): f.lag for f in found if f.copy == f.original + 1} == {
        (k, k + 1): c for k in range(c - 1)
    }


def test_coarse_steps_make_equal_samples_but_no_copies():
    x_TC = np.round(eeg(8000, 6) / 1e-5) * 1e-5
    assert find_copies(x_TC) == []


def test_a_copy_in_half_of_the_recording_is_found():
    x_TC = eeg(12_000, 4)
    x_TC[6000:, 3] = x_TC[5980:-20, 1]
    assert [(f.original, f.copy, f.lag) for f in find_copies(x_TC)] == [(3, 1, 20)]
    x_TC = eeg(12_000, 4)
    x_TC[5980:-20, 3] = x_TC[6000:, 1]
    assert [(f.original, f.copy, f.lag) for f in find_copies(x_TC)] == [(1, 3, 20)]


def test_a_shifted_copy_with_noise_on_it_is_found():
    x_TC = eeg(6000, 4)
    noise = 2e-7 * np.random.default_rng(9).standard_normal(6000)
    x_TC = np.column_stack([x_TC, np.roll(x_TC[:, 0], -25) + noise])[:5900]
    assert [(f.original, f.copy, f.lag) for f in find_copies(x_TC)] == [(0, 4, 25)]


def test_a_travelling_wave_is_no_copy():
    # Seen by five electrodes ten samples apart, each with a tenth of activity of its own.
    wave = pink(6100, 1, 7)[:, 0]
    own = pink(6000, 5, 8)
    x_TC = np.column_stack([wave[10 * k : 10 * k + 6000] for k in range(5)]) + 0.1 * own
    assert find_copies(x_TC) == []
