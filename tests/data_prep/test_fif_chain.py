"""FIF files tag by tag."""

import struct

import pytest
from prep_helpers import fif_tags, make_raw, write_fif

from brainfm.errors import DataError
from brainfm.signals.files.fif import check_fif
from brainfm.signals.files.raw import odd_calibrations, read_raw


def check(tmp_path, content):
    (tmp_path / "f_raw.fif").write_bytes(content)
    check_fif(tmp_path / "f_raw.fif")


def header_of(content, index):
    """Where the 16 bytes before the data of a tag lie."""
    return fif_tags(content)[index][1] - 16


def test_a_whole_file_passes(tmp_path, fif_bytes):
    check(tmp_path, fif_bytes)


def test_every_truncation_is_seen(tmp_path, fif_bytes):
    for cut in range(0, len(fif_bytes) - 1, 997):
        with pytest.raises(DataError, match="truncated or damaged"):
            check(tmp_path, fif_bytes[:cut])


def test_a_length_that_reaches_too_far(tmp_path, fif_bytes):
    at = header_of(fif_bytes, 5)
    longer = fif_bytes[: at + 8] + struct.pack(">i", 1 << 24) + fif_bytes[at + 12 :]
    with pytest.raises(DataError, match="announces 16777216 bytes too many"):
        check(tmp_path, longer)


def test_a_negative_length(tmp_path, fif_bytes):
    at = header_of(fif_bytes, 5)
    with pytest.raises(DataError, match="truncated or damaged"):
        check(tmp_path, fif_bytes[: at + 8] + struct.pack(">i", -4) + fif_bytes[at + 12 :])


def test_a_pointer_backwards_would_never_end(tmp_path, fif_bytes):
    at = header_of(fif_bytes, 5)
    with pytest.raises(DataError, match="points back to byte 16"):
        check(tmp_path, fif_bytes[: at + 12] + struct.pack(">i", 16) + fif_bytes[at + 16 :])


def test_a_chain_that_stops_early(tmp_path, fif_bytes):
    at = header_of(fif_bytes, 5)
    with pytest.raises(DataError, match="the chain of tags stops"):
        check(tmp_path, fif_bytes[: at + 12] + struct.pack(">i", -1) + fif_bytes[at + 16 :])


def test_garbage_behind_the_signature(tmp_path, fif_bytes):
    with pytest.raises(DataError, match="truncated or damaged"):
        check(tmp_path, fif_bytes[:16] + b"\xa5" * 5000)


def test_one_electrode_of_another_calibration_is_noted(tmp_path):
    raw = make_raw()
    raw.info["chs"][1]["cal"] = 4.0
    assert "calibration of C3 differs" in odd_calibrations(raw)[0]


def test_equal_calibrations_pass_without_a_word(tmp_path):
    path = write_fif(tmp_path / "a_raw.fif")
    _, notes = read_raw(path)
    assert notes == []
