"""Windows from disk, and the tables beside them."""

import multiprocessing
import pickle

import numpy as np
import pytest

from brainfm.data import store as store_module
from brainfm.data.format import write_recording
from brainfm.data.index import build_tables, modality, select
from brainfm.data.paths import data_root, store_root
from brainfm.data.sensors import synthetic_channels
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_recording, synthetic_store
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import WindowRef


def test_a_window_is_the_recording_between_its_samples(store):
    whole = store.read(WindowRef(0, 0, 5120))
    assert whole.shape == (5120, 9) and whole.dtype == np.float32
    assert np.array_equal(store.read(WindowRef(0, 700, 512)), whole[700:1212])
    truth = synthetic_recording("EEG", 20, 9, subject="01").signal
    assert np.abs(whole - truth).max() < 1e-4 * np.abs(truth).max()


def test_a_window_may_be_changed_without_changing_the_store(store):
    ref = WindowRef(0, 0, 100)
    first = store.read(ref)
    first[:] = 0
    assert store.read(ref).std() > 0


def test_float32_windows_may_be_changed_too(tmp_path):
    recording = synthetic_recording("EEG", 2, 4)
    path = tmp_path / "d" / "a.safetensors"
    write_recording(recording, path, recipe=Recipe(), dtype="float32")
    build_tables(tmp_path)
    x = Store(tmp_path).read(WindowRef(0, 0, 100))
    assert np.array_equal(x, recording.signal[:100])
    x[:] = 0


@pytest.mark.parametrize(("start", "length"), [(-1, 10), (5115, 10), (0, 0)])
def test_a_window_outside_its_recording_is_refused(store, start, length):
    with pytest.raises(DataError, match="lies outside its 5120 samples"):
        store.read(WindowRef(0, start, length))


def read_mean(store, queue):
    queue.put(float(np.abs(store.read(WindowRef(3, 10, 100))).mean()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(store, method):
    here = float(np.abs(store.read(WindowRef(3, 10, 100))).mean())  # files are open before
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=read_mean, args=(store, queue))
    process.start()
    assert queue.get(timeout=60) == here
    process.join()


def test_a_pickled_store_carries_no_samples(store):
    store.read(WindowRef(0, 0, 5120))
    assert len(pickle.dumps(store)) < 100_000


def test_more_recordings_than_handles_are_read_all_the_same(store, monkeypatch):
    monkeypatch.setattr(store_module, "MAX_OPEN", 2)
    fresh = Store(store.root)
    for row in [*range(8), *range(8)]:
        assert np.array_equal(fresh.read(WindowRef(row, 5, 50)), store.read(WindowRef(row, 5, 50)))
    assert len(fresh._open) <= 2


def test_tables_say_what_a_reader_needs(store):
    row = store.recordings.iloc[4]
    assert row[["dataset", "subject", "kind", "kinds", "n_channels"]].tolist() == [
        "simulated_meg",
        "01",
        "MEG",
        "GRAD+MAG",
        6,
    ]
    assert row["hours"] == pytest.approx(20 / 3600)
    assert (row["highpass_hz"], row["lowpass_hz"], row["line_freq"]) == (0.1, 96.0, 50.0)


def test_channels_come_back_to_the_bit(store):
    for row in range(len(store)):
        assert store.channels(row).layout() == store.recordings["layout"][row]


def test_unknown_positions_come_back_unknown(tmp_path):
    synthetic_store(tmp_path, kinds=("EMG",), n_subjects=3, seconds=2)
    assert np.isnan(Store(tmp_path).channels(0).pos_m).all()


def test_the_index_hash_changes_with_the_content(store, tmp_path):
    same = synthetic_store(tmp_path / "a")
    other = synthetic_store(tmp_path / "b", seed=1)
    assert same.index_hash == store.index_hash != other.index_hash


def test_one_store_has_one_recipe(broken):
    recording = synthetic_recording("EEG", 2, 4, subject="zz")
    path = broken / "simulated_eeg" / "zz.safetensors"
    write_recording(recording, path, recipe=Recipe(highpass_hz=1.0))
    with pytest.raises(DataError, match=r"highpass_hz is 1\.0 in .*zz.* but 0\.1"):
        build_tables(broken)


def test_a_failed_finalize_keeps_the_old_tables(broken):
    before = (broken / "recordings.parquet").read_bytes()
    test_one_store_has_one_recipe(broken)
    assert (broken / "recordings.parquet").read_bytes() == before


def test_an_empty_folder_cannot_be_finished(tmp_path):
    with pytest.raises(DataError, match="no readable recording"):
        build_tables(tmp_path)


@pytest.mark.parametrize(
    ("query", "rows"),
    [("", 8), ("kind == 'EEG'", 4), ("n_channels > 9 and split == 'train'", 2), ("hours > 9", 0)],
)
def test_a_query_chooses_recordings(store, query, rows):
    assert len(select(store, query)) == rows


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("knd == 'EEG'", "'knd'.*columns are .*kind"),
        ("kind = 'EEG'", "cannot be evaluated"),
        ("kind ==", "cannot be evaluated"),
        ("hours + 1", "true or false|cannot be evaluated"),
        ("hours > 'long'", "cannot be evaluated"),
    ],
)
def test_a_wrong_query_says_what_is_wrong(store, query, message):
    with pytest.raises(DataError, match=message):
        select(store, query)


def test_magnetometers_and_gradiometers_are_both_meg():
    assert modality(synthetic_channels("MEG")) == "MEG"
    assert modality(synthetic_channels("SEEG")) == "SEEG"


def test_the_data_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BRAINFM_DATA", str(tmp_path))
    assert data_root() == tmp_path and store_root() == tmp_path / "store"
    monkeypatch.delenv("BRAINFM_DATA")
    assert data_root().name == "brainfm_data"
