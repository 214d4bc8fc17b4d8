"""A damaged store says which file, and what to do; it never reads wrong samples in silence."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from brainfm.data.format import read_header, verify_samples
from brainfm.data.index import build_tables
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.types import WindowRef

NAME = "sub-02.safetensors"


@pytest.fixture
def file(broken):
    return broken / "simulated_eeg" / NAME


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << (at % 8)
    path.write_bytes(content)


def header_end(path):
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def test_any_flipped_byte_is_found_by_finalize(file, broken):
    """300 places all over the file: length, table, header, scales, samples."""
    whole = file.read_bytes()
    end = header_end(file)
    rng = np.random.default_rng(0)
    places = {*range(8), *rng.integers(8, end, 150), *rng.integers(end, len(whole), 142)}
    for at in sorted(int(p) for p in places):
        flip(file, at)
        with pytest.raises(DataError, match=NAME):
            verify_samples(file, read_header(file))
        file.write_bytes(whole)


def test_any_truncation_is_found_before_a_sample_is_read(file):
    whole = file.read_bytes()
    for size in (0, 5, 8, 100, header_end(file) - 1, header_end(file), len(whole) // 2, -1):
        file.write_bytes(whole[:size])
        with pytest.raises(DataError, match=NAME):
            read_header(file)


def test_trailing_bytes_are_found(file):
    file.write_bytes(file.read_bytes() + b"\0" * 8)
    with pytest.raises(DataError, match="bytes, not the"):
        read_header(file)


def test_a_damaged_recording_is_left_out_and_the_others_go_through(file, broken, caplog):
    flip(file, header_end(file) + 5000)
    table = build_tables(broken)
    assert len(table) == 7 and f"simulated_eeg/{NAME}" not in set(table["path"])
    assert len(table.attrs["rejected"]) == 1 and NAME in table.attrs["rejected"][0]
    assert NAME in caplog.text


def test_files_verified_before_are_read_again_only_when_asked(file, broken):
    build_tables(broken)
    before = file.stat()
    flip(file, header_end(file) + 5000)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(build_tables(broken)) == 8
    assert len(build_tables(broken, verify="all")) == 7


def test_an_unknown_way_to_verify_is_refused(broken):
    with pytest.raises(DataError, match="verify is 'some'"):
        build_tables(broken, verify="some")


def test_a_truncated_file_under_a_finished_store_is_named_when_read(file, broken):
    store = Store(broken)
    row = store.recordings.index[store.recordings["path"].str.endswith(f"eeg/{NAME}")][0]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"{NAME}: truncated"):
        store.read(WindowRef(int(row), 0, 256))


def test_a_missing_file_is_named_when_read(file, broken):
    store = Store(broken)
    file.unlink()
    with pytest.raises(DataError, match=f"{NAME}: missing; run"):
        store.read(WindowRef(1, 0, 256))


def test_a_recording_of_another_length_than_the_table_says_is_refused(file, broken):
    store = Store(broken)
    file.write_bytes((broken / "simulated_eeg" / "sub-01.safetensors").read_bytes())
    with pytest.raises(DataError, match="the table says"):
        store.read(WindowRef(1, 0, 256))


def test_a_foreign_safetensors_file_is_left_out(broken):
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3)}, broken / "simulated_eeg" / "model.safetensors")
    table = build_tables(broken)
    assert len(table) == 8 and "its format is None" in table.attrs["rejected"][0]


TABLES = ["recordings.parquet", "channels.parquet", "store.json"]


@pytest.mark.parametrize("name", TABLES)
def test_damaged_tables_ask_to_be_made_again(broken, name):
    (broken / name).write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"(cannot be read|is not the table).*finalize"):
        Store(broken)
    build_tables(broken)
    assert len(Store(broken)) == 8


@pytest.mark.parametrize("name", TABLES[:2])
def test_a_flipped_byte_in_a_table_is_refused(broken, name):
    file = broken / name
    whole = file.read_bytes()
    for at in np.random.default_rng(1).integers(0, len(whole), 100):
        flip(file, int(at))
        with pytest.raises(DataError, match=name):
            Store(broken)
        file.write_bytes(whole)


def test_a_full_disk_while_finishing_keeps_the_tables_there_are(broken, monkeypatch):
    def full(self, path, **args):
        path.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(DataError, match=r"channels\.parquet: could not be written"):
        build_tables(broken)
    assert len(Store(broken)) == 8 and not list(broken.glob(".*"))


def test_tables_of_an_interrupted_finalize_are_not_read_and_can_be_made_again(broken):
    before = (broken / "recordings.parquet").read_bytes()
    (broken / "simulated_eeg" / NAME).unlink()
    build_tables(broken)
    (broken / "recordings.parquet").write_bytes(before)
    with pytest.raises(DataError, match="finalize was interrupted"):
        Store(broken)
    build_tables(broken)
    assert len(Store(broken)) == 7


def test_no_store_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="no finished store there.*data_prep finalize"):
        Store(tmp_path)


def test_an_unknown_recipe_key_in_store_json_is_refused(broken):
    content = json.loads((broken / "store.json").read_text())
    content["recipe"]["resample"] = "sinc"
    (broken / "store.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="resample"):
        Store(broken)
