import numpy as np
import pytest
from signals_helpers import channels, eeg, pink

from brainfm.signals.quality import QualityConfig, check_quality, repair_spikes
from brainfm.types import Kind

FS = 250.0


def check(x_TC, **more):
    return check_quality(x_TC, FS, channels(x_TC.shape[1]), 50.0, **more)


def test_sound_eeg_passes_without_a_word():
    report = check(eeg(10_000, 8))
    assert report.bad == {} and report.notes == [] and report.refusal is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_bad(value):
    x = eeg()
    x[100, 3] = value
    assert "NaN or infinite" in check(x).bad[3]


def test_a_flat_channel_is_bad():
    x = eeg()
    x[:, 2] = 1e-5
    assert check(x).bad == {2: "flat (one value throughout)"}


def test_a_channel_that_dies_half_way_is_bad():
    x = eeg()
    x[1500:, 2] = x[1500, 2]
    assert "flat for 62% of the time" in check(x).bad[2]


def test_a_short_pause_is_a_note():
    x = eeg()
    x[1000:1200, 2] = 0
    report = check(x)
    assert report.bad == {} and "'E3' is flat for 5.0%" in report.notes[0]


def test_padding_is_cut_out():
    x = eeg()
    x[3500:] = 0
    report = check(x)
    assert report.intervals == [(0, 3500)]
    assert "all channels rest at once" in report.notes[0] and report.bad == {}


def test_clipping_is_bad():
    x = eeg()
    x[:, 1] = np.clip(x[:, 1], -1.2e-5, 1.2e-5)
    assert "clipped" in check(x).bad[1]


def test_a_channel_of_line_noise_is_bad_and_its_neighbours_are_not():
    x = eeg()
    x[:, 4] += 3e-4 * np.sin(2 * np.pi * 50 * np.arange(len(x)) / FS)
    report = check(x)
    assert set(report.bad) == {4} and "50 Hz line noise" in report.bad[4]


def test_moderate_line_noise_is_left_to_the_notch():
    x = eeg()
    x += 1e-5 * np.sin(2 * np.pi * 50 * np.arange(len(x)) / FS)[:, None]
    assert check(x).bad == {}


def test_line_noise_is_found_when_nobody_knows_the_line():
    x = eeg()
    x[:, 4] += 3e-4 * np.sin(2 * np.pi * 60 * np.arange(len(x)) / FS)
    report = check_quality(x, FS, channels(8), None)
    assert "60 Hz" in report.bad[4]


@pytest.mark.parametrize("factor", [1e6, 1e3, 1e-6])
def test_a_wrong_unit_is_refused_with_the_amplitude(factor):
    report = check(eeg() * factor)
    assert "the unit in the header is wrong" in report.refusal


def test_channels_of_two_units_are_refused_and_loose_electrodes_are_not():
    x = eeg()
    x[:, :3] *= 1e6
    assert "3 of 8 EEG channels" in check(x).refusal and "units are mixed" in check(x).refusal
    loose = eeg()
    loose[:, :3] *= [800.0, 20_000.0, 7_000.0]
    report = check(loose)
    assert report.refusal is None and {0, 1, 2} <= set(report.bad)


def test_arbitrary_units_have_no_limits():
    x = eeg() * 1e9
    own = channels(8)
    own = type(own)(own.name, own.kind, own.pos_m, own.ori, ["au"] * 8)
    assert check_quality(x, FS, own, 50.0).refusal is None


def test_one_channel_of_absurd_amplitude_is_bad():
    x = eeg()
    x[:, 0] *= 1e4
    assert "outside" in check(x).bad[0]


def test_a_bit_error_is_interpolated_and_noted():
    x = eeg()
    clean = x.copy()
    x[1234, 3] += 2e-3
    report = check(x)
    assert report.repaired == [(1234, 3)] and "1 single-sample spikes" in report.notes[0]
    repair_spikes(x, report)
    assert abs(x[1234, 3] - clean[1234, 3]) < 1e-5


def test_heart_beats_are_no_spikes():
    x = 1e-4 * pink(4000, 1)
    x[::200] += 5e-3
    report = check_quality(x, FS, channels(1, Kind.ECG), 50.0)
    assert report.repaired == [] and report.bad == {}


def test_a_channel_of_spikes_is_bad():
    x = eeg()
    x[::100, 3] += 2e-3
    assert "single-sample spikes" in check(x).bad[3]


def test_too_few_good_channels_refuse_the_recording_and_say_why():
    x = eeg()
    x[:, 1:6] = 0
    report = check(x)
    assert "only 3 of 8 channels are good (5 x flat" in report.refusal


def test_share_of_good_channels_is_a_setting():
    x = eeg()
    x[:, 1:6] = 0
    assert check(x, config=QualityConfig(min_good=0.3)).refusal is None


def test_shifted_copies_refuse_the_recording_in_so_many_words():
    one = eeg(4100, 1)[:, 0]
    x = np.column_stack([one[6 * k : 6 * k + 4000] for k in range(6)])
    assert check(x).refusal == (
        "channels 2..6 repeat channel 1 shifted by 6 samples each (E1 to E6): one electrode "
        "posing as six"
    )


def test_a_single_shifted_copy_names_both_channels():
    x = eeg(4100, 5)
    x = np.column_stack([x[:4000], x[40:4040, 1]])
    assert "channel 6 ('E6') repeats channel 2 ('E2') shifted by 40" in check(x).refusal


def test_bridged_channels_lose_all_but_one():
    x = eeg(4000, 8)
    x[:, 6] = x[:, 2]
    report = check(x)
    assert report.bad == {6: "repeats channel 'E3' (bridged or copied)"}
    assert report.refusal is None


def test_mirrored_channels_are_one():
    x = eeg(3000, 2)
    report = check(x - x.mean(1, keepdims=True))
    assert "is -1 times channel 'E1'" in report.bad[1]
    assert report.good(2).tolist() == [0]


def test_trials_are_never_joined():
    one = eeg(4000, 3)
    spans = [(0, 1000), (2000, 4000)]
    one[1000:2000] = 1e-2
    assert check(one, intervals=spans).bad == {}


def test_nothing_left_is_a_refusal():
    assert "samples" in check(eeg(), intervals=[(5, 6)]).refusal
