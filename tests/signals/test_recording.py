import mne
import numpy as np
import pytest
from signals_helpers import eeg

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import pick_channels, recording_from_raw
from brainfm.types import Kind

NAMES = ["EEG Fp1-Ref", "EEG F3-Ref", "EEG T3-Ref", "EEG CZ-Ref", "EEG O1-Ref"]


def raw_of(names=NAMES, seconds=40, sfreq=250.0, kinds="eeg", seed=0):
    x = eeg(int(seconds * sfreq), len(names), seed).T
    return mne.io.RawArray(
        x, mne.create_info(names, sfreq, kinds, verbose="ERROR"), verbose="ERROR"
    )


def convert(raw, **more):
    return recording_from_raw(raw, recipe=Recipe(), source="f.edf", line_freq=50.0, **more)


def test_a_recording_at_the_recipes_rate_with_clean_names():
    r = convert(raw_of(), dataset="d", subject="s", name="n")
    assert r.channels.name == ("Fp1", "F3", "T7", "Cz", "O1")
    assert r.sfreq == 256 and r.signal.shape == (10240, 5) and r.signal.dtype == np.float32
    assert r.line_freq == 50 and r.split_group == "d/s" and r.intervals_s == [(0.0, 40.0)]
    assert 1e-5 < r.signal.std() < 1e-4


def test_line_frequency_of_the_file_wins():
    raw = raw_of()
    raw.info["line_freq"] = 60.0
    assert convert(raw).line_freq == 60


def test_channels_typed_eeg_by_their_file_only():
    r = convert(raw_of(["Cz", "Pz", "EEG EKG1-REF", "EOG left", "SpO2"]))
    assert r.channels.name == ("Cz", "Pz", "EEG EKG1-REF")
    assert r.channels.kind.tolist() == [Kind.EEG, Kind.EEG, Kind.ECG]
    assert any("EKG1-REF is ecg" in n for n in r.notes)
    assert any("left out: EOG left, SpO2" in n for n in r.notes)


def test_bad_channels_of_the_file_stay_out():
    raw = raw_of()
    raw.info["bads"] = ["EEG F3-Ref"]
    r = convert(raw)
    assert "F3" not in r.channels.name and any("marked bad" in n for n in r.notes)


def test_flat_channels_stay_out_with_a_note():
    raw = raw_of()
    raw._data[1] = 0
    r = convert(raw)
    assert len(r.channels) == 4
    assert "channel 'F3' is dropped: flat (one value throughout)" in r.notes


def test_annotations_become_events_and_bad_ones_cut():
    raw = raw_of(seconds=60)
    raw.set_annotations(
        mne.Annotations([5, 20, 50], [1, 10, 0], ["Réponse", "BAD_movement", "EDGE boundary"])
    )
    r = convert(raw)
    assert [(e.onset_s, e.duration_s, e.label) for e in r.events] == [(5.0, 1.0, "Réponse")]
    np.testing.assert_allclose(r.intervals_s, [(0, 20), (30, 50), (50, 60)], atol=1e-9)


def test_event_times_count_from_the_first_sample_of_a_cropped_recording():
    raw = raw_of(seconds=60)
    raw.set_meas_date(0)
    raw.set_annotations(mne.Annotations([20.0], [1.0], ["go"], orig_time=raw.info["meas_date"]))
    r = convert(raw.crop(15.0, 55.0))
    assert r.events[0].onset_s == pytest.approx(5.0, abs=0.01)


def test_padding_at_the_end_is_cut_before_it_rings():
    raw = raw_of()
    raw._data[:, 9000:] = 0
    r = convert(raw)
    assert r.duration_s == pytest.approx(36.0, abs=0.01)
    assert abs(r.signal[-256:]).max() < 10 * r.signal.std()


@pytest.mark.parametrize("sfreq", [0.5, 3e5])
def test_absurd_rates_are_refused(sfreq):
    with pytest.raises(DataError, match="f.edf: the sampling rate is"):
        convert(raw_of(seconds=2000 / sfreq, sfreq=sfreq))


def test_nothing_to_read_is_refused_with_the_types():
    with pytest.raises(DataError, match="none of its 2 channels is EEG.*types: misc, stim"):
        convert(raw_of(["A", "B"], kinds=["misc", "stim"]))


def test_refusals_name_the_file():
    raw = raw_of()
    raw._data *= 1e6
    with pytest.raises(DataError, match=r"^f\.edf: EEG channels vary by .* the unit in the header"):
        convert(raw)


def test_all_bad_is_refused():
    raw = raw_of()
    raw.set_annotations(mne.Annotations([0], [60], ["bad"]))
    with pytest.raises(DataError, match="every sample lies in an annotation"):
        convert(raw)


def test_a_recording_shorter_than_a_window_enters_with_its_mean_removed():
    r = convert(raw_of(seconds=1.5))
    assert r.notes[0].startswith("highpass: none") and r.duration_s == pytest.approx(1.5, abs=0.01)


def test_the_users_raw_is_not_changed():
    raw = raw_of()
    raw._data[2, 1000] += 2e-3
    before, names = raw.get_data(), list(raw.ch_names)
    convert(raw)
    np.testing.assert_array_equal(raw.get_data(), before)
    assert raw.ch_names == names


def test_positions_out_of_the_world_are_refused():
    raw = raw_of()
    raw.info["chs"][0]["loc"][:3] = (80.0, 10.0, 30.0)
    with pytest.raises(DataError, match="divide millimetres by 1000"):
        convert(raw)


def test_unusual_rates_and_line_frequencies_are_noted():
    raw = raw_of(sfreq=250.05)
    raw.info["line_freq"] = 50.03
    notes = convert(raw).notes
    assert "unusual sampling rate of 250.05 Hz" in notes
    assert "unusual line frequency of 50.03 Hz" in notes
    assert not [n for n in convert(raw_of()).notes if "unusual" in n]


def test_picking_channels_is_what_a_recording_has_before_its_samples_are_judged(tmp_path):
    raw = raw_of(["EEG Fp1-Ref", "EEG F3-Ref", "EOG left", "EEG EKG1-REF"])
    raw.info["bads"] = ["EEG F3-Ref"]
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    on_disk = mne.io.read_raw_fif(tmp_path / "a_raw.fif", verbose="ERROR")
    picked, channels, notes = pick_channels(on_disk, "f.edf")
    made = convert(on_disk)
    assert channels.name == made.channels.name == ("Fp1", "EEG EKG1-REF")
    np.testing.assert_array_equal(channels.pos_m, made.channels.pos_m)
    assert not picked.preload and picked.get_channel_types() == ["eeg", "ecg"]
    assert set(notes) <= set(made.notes) and any("left out: EOG left" in n for n in notes)
