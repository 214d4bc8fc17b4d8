"""Who is on which side, and that nobody is on two."""

import pytest

from brainfm.data.format import write_recording
from brainfm.data.index import build_tables
from brainfm.data.splits import SPLITS, assert_disjoint, split_of
from brainfm.data.store import Store
from brainfm.data.synthetic import synthetic_recording
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe


def write(folder, recording, name):
    write_recording(recording, folder / recording.dataset / f"{name}.safetensors", recipe=Recipe())


def test_a_group_has_the_same_split_for_ever():
    """Changing these would move people between the sides of every store there is."""
    sides = "train train train test train train train test".split()
    assert [split_of(f"eegmmidb/S{i:03d}") for i in range(1, 9)] == sides


def test_shares_are_what_they_should_be():
    sides = [split_of(f"set/{i}") for i in range(5000)]
    shares = [sides.count(s) / 5000 for s in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert {split_of(f"set/{i}", (0, 0, 1)) for i in range(50)} == {"test"}


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1)])
def test_shares_that_are_none_are_refused(fractions):
    with pytest.raises(DataError, match="three shares of 1"):
        split_of("a/b", fractions)


def test_without_an_official_split_the_hash_decides(tmp_path):
    write(tmp_path, synthetic_recording("EEG", 2, 4, subject="x"), "a")
    build_tables(tmp_path)
    assert Store(tmp_path).recordings["split"][0] == split_of("simulated_eeg/x")


def test_an_official_split_is_kept(tmp_path):
    official = "test" if split_of("simulated_eeg/x") != "test" else "val"
    write(tmp_path, synthetic_recording("EEG", 2, 4, subject="x", split=official), "a")
    build_tables(tmp_path)
    assert Store(tmp_path).recordings["split"][0] == official


def test_one_person_on_two_sides_is_refused_with_both_files(tmp_path):
    for name, split in (("run1", "train"), ("run2", "test")):
        write(tmp_path, synthetic_recording("EEG", 2, 4, name=name, split=split), name)
    with pytest.raises(DataError, match=r"simulated_eeg/01.*test.*run2.*train.*run1"):
        build_tables(tmp_path)
    assert not (tmp_path / "recordings.parquet").exists()


def twice(folder, change, dataset="other"):
    """One signal in two data sets, the second changed a little, on two sides."""
    first = synthetic_recording("EEG", 2, 12, split="train")
    second = synthetic_recording("EEG", 2, 12, split="test")
    second.dataset, second.split_group = dataset, f"{dataset}/S001"
    change(second)
    for recording, name in ((first, "a"), (second, "b")):
        write(folder, recording, name)


def in_microvolts(r):
    r.signal = r.signal * 1e6


def without_two_channels(r):
    r.channels, r.signal = r.channels.take(range(2, 12)), r.signal[:, 2:]


def with_other_names(r):
    r.channels = type(r.channels).from_dict(
        {**r.channels.to_dict(), "name": [f"EEG{i}" for i in range(12)]}
    )


@pytest.mark.parametrize(
    "change", [lambda r: None, in_microvolts, without_two_channels, with_other_names]
)
def test_one_signal_under_two_names_on_two_sides_is_refused(tmp_path, change):
    twice(tmp_path, change)
    with pytest.raises(DataError, match=r"same signal.*test \(other/b.*train \(simulated_eeg/a"):
        build_tables(tmp_path)


def test_one_signal_twice_on_one_side_passes(tmp_path):
    twice(tmp_path, lambda r: setattr(r, "split", "train"))
    assert len(build_tables(tmp_path)) == 2


def test_flat_channels_are_no_shared_signal(tmp_path):
    for subject, split in (("a", "train"), ("b", "test")):
        recording = synthetic_recording("EEG", 2, 6, subject=subject, split=split)
        recording.signal[:, 0] = 0
        write(tmp_path, recording, subject)
    assert len(build_tables(tmp_path)) == 2


def test_an_unknown_split_in_a_table_is_refused(store):
    table = store.recordings.copy()
    table.loc[2, "split"] = "holdout"
    with pytest.raises(DataError, match="sub-03.*'holdout' is none of"):
        assert_disjoint(table)
