"""What was heard lies beside the signal: written with it, checked with it, cut with it."""

import numpy as np
import pytest
from spoken import RECIPE, row_of, spoken_recording, spoken_store

from brainfm.data.format import read_header
from brainfm.data.parts import split_into_parts
from brainfm.data.stimulus import frames_between, map_stimulus, stimulus_path
from brainfm.data.store import Store, build_tables, write_recording
from brainfm.errors import DataError
from brainfm.types import Stimulus


@pytest.fixture
def store(tmp_path):
    return spoken_store(tmp_path)


def test_features_come_back_as_they_were_given(store):
    given = spoken_recording(["the cat sat", "a dog ran home"]).stimulus["clock"]
    found = store.stimulus(row_of(store, "train"))["clock"]
    assert found.rate_hz == given.rate_hz
    np.testing.assert_array_equal(found.values_NF, given.values_NF)


def test_the_table_names_features_and_counts_no_file_of_them_as_a_recording(store):
    assert len(store) == 3
    assert set(store.recordings["stimulus"]) == {"clock"}


def test_a_recording_without_features_has_none(tmp_path):
    recording = spoken_recording(["the cat sat"])
    recording.stimulus = {}
    path = tmp_path / "spoken" / "quiet.safetensors"
    write_recording(recording, path, recipe=RECIPE)
    build_tables(tmp_path)
    assert Store(tmp_path).stimulus(0) == {}
    assert not stimulus_path(path).exists()


def test_headers_written_before_there_was_a_stimulus_are_read(tmp_path, monkeypatch):
    from brainfm.data import format as store_format

    monkeypatch.setattr(store_format, "write_stimulus", lambda recording, path: None)
    dumps = store_format.json.dumps

    def older(header, **more):
        header.pop("stimulus")
        return dumps(header, **more)

    monkeypatch.setattr(store_format.json, "dumps", older)
    recording = spoken_recording(["the cat sat"])
    recording.stimulus = {}
    write_recording(recording, tmp_path / "spoken" / "old.safetensors", recipe=RECIPE)
    monkeypatch.undo()
    assert read_header(tmp_path / "spoken" / "old.safetensors")["stimulus"] == {}
    build_tables(tmp_path)
    assert Store(tmp_path).stimulus(0) == {}


@pytest.mark.parametrize(
    ("seconds", "rate_hz", "sentence"),
    [
        (3.0, 50.0, "stimulus 'mel' has 150 frames at 50 Hz, 3.00 s, but the recording lasts 4.00"),
        (4.0, 25.0, "stimulus 'mel' has 200 frames at 25 Hz, 8.00 s, but the recording lasts 4.00"),
        (4.0, 100.0, "stimulus 'mel' has 200 frames at 100 Hz, 2.00 s, but"),
    ],
)
def test_features_of_another_length_or_rate_are_refused(tmp_path, seconds, rate_hz, sentence):
    recording = spoken_recording(["the cat sat"])
    assert recording.duration_s == 4.0
    values = np.zeros((round(seconds * 50), 3), np.float32)
    recording.stimulus = {"mel": Stimulus(values, rate_hz)}
    path = tmp_path / "spoken" / "x.safetensors"
    with pytest.raises(DataError, match=sentence):
        write_recording(recording, path, recipe=RECIPE)
    assert not path.exists() and not stimulus_path(path).exists()


def test_an_analysis_window_at_the_end_and_the_tail_of_a_sound_are_let_through(tmp_path):
    recording = spoken_recording(["the cat sat"])
    for n in (198, 200, 250):
        recording.stimulus = {"mel": Stimulus(np.zeros((n, 3), np.float32), 50.0)}
        write_recording(recording, tmp_path / "spoken" / f"{n}.safetensors", recipe=RECIPE)


def test_features_that_are_not_finite_are_refused(tmp_path):
    recording = spoken_recording(["the cat sat"])
    recording.stimulus["clock"].values_NF[7, 1] = np.nan
    with pytest.raises(DataError, match="stimulus 'clock' has 2 features, or some that are not"):
        write_recording(recording, tmp_path / "spoken" / "x.safetensors", recipe=RECIPE)


def test_a_stimulus_is_a_table_at_a_positive_rate():
    with pytest.raises(ValueError, match="positive rate"):
        Stimulus(np.zeros(5, np.float32), 50.0)
    with pytest.raises(ValueError, match="at 0"):
        Stimulus(np.zeros((5, 1), np.float32), 0)


def test_a_missing_file_of_features_is_named(store):
    row = row_of(store, "val")
    stimulus_path(store.path(row)).unlink()
    with pytest.raises(DataError, match=r"val\.stimulus\.safetensors: missing.* delete val\.saf"):
        store.stimulus(row)


def test_features_of_another_recording_are_refused(store):
    train, val = (store.path(row_of(store, split)) for split in ("train", "val"))
    stimulus_path(val).write_bytes(stimulus_path(train).read_bytes())
    with pytest.raises(DataError, match=r"val\.stimulus\.safetensors: holds.* delete val\.saf"):
        store.stimulus(row_of(store, "val"))


def test_a_flipped_byte_of_the_features_keeps_the_recording_out(store):
    path = stimulus_path(store.path(row_of(store, "val")))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    table = build_tables(store.root, verify="all")
    assert len(table) == 2
    assert "val.stimulus.safetensors: does not match its checksum" in table.attrs["rejected"][0]


def test_a_truncated_file_of_features_is_refused(store):
    path = store.path(row_of(store, "val"))
    beside = stimulus_path(path)
    beside.write_bytes(beside.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"stimulus\.safetensors: (truncated|cannot be mapped)"):
        map_stimulus(path, read_header(path)["stimulus"])


def test_parts_of_a_long_recording_keep_their_own_features():
    recording = spoken_recording(["the cat sat", "a dog ran home"])
    first, second = split_into_parts(recording, hours=4 / 3600)
    whole = recording.stimulus["clock"].values_NF
    assert [p.duration_s for p in (first, second)] == [4.0, recording.duration_s - 4.0]
    np.testing.assert_array_equal(first.stimulus["clock"].values_NF, whole[:200])
    np.testing.assert_array_equal(second.stimulus["clock"].values_NF, whole[200:])


def test_frames_of_a_window_are_those_of_its_time(store):
    clock = store.stimulus(row_of(store, "train"))["clock"]
    found = frames_between(clock, 1.0, 0.5, 25)
    np.testing.assert_allclose(found[:, 0], 1.0 + (np.arange(25) + 0.5) / 50, atol=1e-5)


def test_slower_frames_are_means_of_those_stored(store):
    clock = store.stimulus(row_of(store, "train"))["clock"]
    # Frames of 0.1 s hold five of those stored; the mean of their middles is their own middle.
    np.testing.assert_allclose(
        frames_between(clock, 0.4, 0.6, 6)[:, 0], 0.45 + 0.1 * np.arange(6), atol=1e-5
    )


def test_a_frame_across_an_edge_counts_by_its_share():
    steps = Stimulus(np.array([[0.0], [1.0], [5.0], [5.0]], np.float32), 10.0)
    # From 0.05 to 0.25 s: half of frame 0, all of frame 1, half of frame 2.
    np.testing.assert_allclose(frames_between(steps, 0.05, 0.2, 1), [[(0 + 2 * 1 + 5) / 4]])
    np.testing.assert_allclose(frames_between(steps, 0.05, 0.2, 2), [[0.5], [3.0]])


def test_the_last_frame_stands_for_the_little_that_is_missing_at_the_end():
    short = Stimulus(np.arange(9, dtype=np.float32)[:, None], 10.0)
    np.testing.assert_allclose(frames_between(short, 0.6, 0.4, 4)[:, 0], [6, 7, 8, 8])
