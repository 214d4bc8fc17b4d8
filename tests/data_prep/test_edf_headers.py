"""EDF and BDF headers against their files, field by field."""

import numpy as np
import pytest
from prep_helpers import NAMES, edf_field, make_raw, pink, write_edf

from brainfm.errors import DataError
from brainfm.signals.files.edf import check_edf
from brainfm.signals.files.raw import read_raw
from brainfm.signals.preprocess import Recipe
from data_prep.continuous import load_continuous


def by_hand(
    labels=tuple(NAMES),
    sfreqs=None,
    seconds=6,
    n_records=None,
    bdf=False,
    unit="uV",
    seed=0,
):
    """EDF or BDF bytes with one-second records, written field by field."""
    n = len(labels)
    sfreqs = sfreqs or [200] * n
    x = pink(n, 200 * seconds, seed) * 1e6
    limit = 8388607 if bdf else 32767
    fixed = (b"\xffBIOSEMI" if bdf else b"0       ") + b" " * 160 + b"01.01.2001.00.00"
    fixed += str(256 * (n + 1)).encode().ljust(8) + (b"24BIT" if bdf else b"").ljust(44)
    fixed += str(seconds if n_records is None else n_records).encode().ljust(8)
    fixed += b"1".ljust(8) + str(n).encode().ljust(4)
    columns = [
        [label.encode().ljust(16) for label in labels],
        [b" " * 80] * n,
        [unit.encode("latin-1").ljust(8)] * n,
        [b"-400".ljust(8)] * n,
        [b"400".ljust(8)] * n,
        [str(-limit).encode().ljust(8)] * n,
        [str(limit).encode().ljust(8)] * n,
        [b" " * 80] * n,
        [str(f).encode().ljust(8) for f in sfreqs],
        [b" " * 32] * n,
    ]
    out = fixed + b"".join(b"".join(c) for c in columns)
    for second in range(seconds):
        for k, f in enumerate(sfreqs):
            part = x[k, 200 * second : 200 * (second + 1)][:: 200 // f][:f]
            digits = np.round(part / 400 * limit).astype("<i4")
            raw = digits.view(np.uint8).reshape(-1, 4)
            out += raw[:, : 3 if bdf else 2].tobytes()
    return out


def check(tmp_path, content, name="f.edf"):
    (tmp_path / name).write_bytes(content)
    return check_edf(tmp_path / name)


def test_plain_edf_passes(tmp_path):
    header = check(tmp_path, by_hand())
    assert header.label == tuple(NAMES) and header.sfreq == (200.0,) * 4
    assert (header.n_records, header.record_s, header.notes) == (6, 1.0, ())


def test_bdf_passes_and_reads(tmp_path):
    (tmp_path / "f.bdf").write_bytes(by_hand(bdf=True))
    assert check_edf(tmp_path / "f.bdf").n_records == 6
    raw, _ = read_raw(tmp_path / "f.bdf")
    np.testing.assert_allclose(raw.get_data(), pink(4, 1200), atol=1e-9)


def test_samples_are_those_that_were_written(tmp_path):
    (tmp_path / "f.edf").write_bytes(by_hand())
    raw, notes = read_raw(tmp_path / "f.edf")
    np.testing.assert_allclose(raw.get_data(), pink(4, 1200), atol=2e-8)
    assert notes == []


@pytest.mark.parametrize("bdf", [False, True])
@pytest.mark.parametrize(("lost", "n", "says"), [(0, 6, "6 are in the file"), (3, 5, "a part of")])
def test_records_are_counted_where_the_header_leaves_their_number_open(
    tmp_path, bdf, lost, n, says
):
    content = by_hand(n_records=-1, bdf=bdf)
    name = "f.bdf" if bdf else "f.edf"
    header = check(tmp_path, content[: len(content) - lost], name)
    assert header.n_records == n and header.counted and says in header.notes[0]
    raw, notes = read_raw(tmp_path / name)
    np.testing.assert_allclose(raw.get_data(), pink(4, 1200)[:, : 200 * n], atol=2e-8)
    assert notes == list(header.notes)


def test_a_header_without_a_whole_record_behind_it_is_refused(tmp_path):
    with pytest.raises(DataError, match="announces -1 records"):
        check(tmp_path, by_hand(seconds=1, n_records=-1)[:-3])


def test_a_file_that_is_shorter_than_it_announces_is_truncated_as_before(tmp_path):
    with pytest.raises(DataError, match="announces 6 records.*truncated"):
        check(tmp_path, by_hand()[:-3])


@pytest.mark.parametrize(
    ("field", "value", "signal", "says"),
    [
        ("n_records", "7", None, "announces 7 records"),
        ("n_records", "0", None, "announces 0 records"),
        ("n_records", "six", None, "number of records is 'six', not a number"),
        ("n_records", "1e9", None, "announces 1000000000 records"),
        ("duration", "0", None, "there is no sampling rate"),
        ("duration", "-1", None, "there is no sampling rate"),
        ("duration", "nan", None, "record duration is 'nan', not a number"),
        ("duration", "1e7", None, "there is no sampling rate"),
        ("signals", "0", None, "0 signals need"),
        ("signals", "9999", None, "9999 signals need"),
        ("header", "512", None, "4 signals need a header of 1280 bytes, it says 512"),
        ("samples", "0", 1, "'C3' has 0 samples a record"),
        ("samples", "-200", 1, "'C3' has -200 samples a record"),
        ("samples", "100", 1, "the file has room for"),
        ("samples", "2.5", 1, "not a whole number"),
        ("pmin", "400", 2, "'Pz' maps -32767..32767 to 400..400"),
        ("dmin", "32767", 0, "which is no range"),
        ("dmax", "99999", 0, "which is no range"),
        ("pmax", "", 3, "pmax of 'O2' is '', not a number"),
        ("label", "C\x07", 1, "label 2 holds control characters"),
    ],
)
def test_fields_that_do_not_fit_are_named(tmp_path, field, value, signal, says):
    with pytest.raises(DataError, match=says) as refusal:
        check(tmp_path, edf_field(by_hand(), field, value, signal))
    assert "f.edf" in str(refusal.value) and ";" in str(refusal.value)


@pytest.mark.parametrize("length", [0, 1, 100, 255, 256, 700, 1279])
def test_a_file_that_ends_in_its_header(tmp_path, length):
    with pytest.raises(DataError, match="no EDF header|ends inside its header"):
        check(tmp_path, by_hand()[:length])


def test_a_file_longer_than_its_header_says_is_no_better(tmp_path):
    with pytest.raises(DataError, match=r"has room for 6\.0"):
        check(tmp_path, by_hand() + b"\0\0")


def test_a_gain_unlike_the_others_is_noted(tmp_path):
    header = check(tmp_path, edf_field(by_hand(), "pmax", "402", 2))
    assert "gain of Pz differs from that of the other signals" in header.notes


def test_an_offset_unlike_the_others_is_noted(tmp_path):
    content = edf_field(edf_field(by_hand(), "pmin", "-300", 1), "pmax", "500", 1)
    assert "offset of C3 differs from that of the other signals" in check(tmp_path, content).notes


def test_different_rates_are_noted_and_brought_together(tmp_path):
    content = by_hand(sfreqs=[200, 200, 200, 100])
    assert "different rates (100, 200 Hz)" in check(tmp_path, content).notes[0]
    r = load_continuous(tmp_path / "f.edf", Recipe(), line_freq=50.0)
    assert r.signal.shape == (1536, 4)


def test_unusual_units_are_noted(tmp_path):
    assert "'Fp1' is in 'mmHg', which is no voltage" in check(tmp_path, by_hand(unit="mmHg")).notes


def test_time_stamps_that_jump_mean_gaps(tmp_path):
    path = write_edf(tmp_path / "plus.edf", make_raw())
    content = path.read_bytes()
    assert content[192:197] == b"EDF+C"
    at = content.index(b"+3\x14\x14")
    with pytest.raises(DataError, match="record 4 begins at 5 s where 3 s is due"):
        check(tmp_path, content[:at] + b"+5" + content[at + 2 :])
    with pytest.raises(DataError, match="record 4 of 6 has no time stamp"):
        check(tmp_path, content[:at] + b"xx" + content[at + 2 :])


def test_a_wrong_record_length_contradicts_the_time_stamps(tmp_path):
    path = write_edf(tmp_path / "plus.edf", make_raw())
    with pytest.raises(DataError, match="record 2 begins at 1 s where 2 s is due"):
        check(tmp_path, edf_field(path.read_bytes(), "duration", "2"))


def test_a_rate_that_no_amplifier_has_is_noted_when_nothing_contradicts_it(tmp_path):
    (tmp_path / "f.edf").write_bytes(edf_field(by_hand(), "duration", "3"))
    r = load_continuous(tmp_path / "f.edf", Recipe(), line_freq=50.0)
    assert any("unusual sampling rate of 66.6667 Hz" in n for n in r.notes)


def test_duplicate_labels_name_both_columns(tmp_path):
    (tmp_path / "f.edf").write_bytes(by_hand(labels=("Fp1", "C3", "Fp1", "O2")))
    with pytest.raises(DataError, match=r"'Fp1' appears twice \(columns 1 and 3\)"):
        read_raw(tmp_path / "f.edf")


def test_labels_that_clean_to_one_name_are_duplicates(tmp_path):
    labels = ("EEG T3-Ref", "C3", "T7", "O2")
    (tmp_path / "f.edf").write_bytes(by_hand(labels=labels))
    with pytest.raises(DataError, match="'T7' appears twice"):
        load_continuous(tmp_path / "f.edf", Recipe())


def test_twenty_minutes_of_zeros_are_refused(tmp_path):
    content = by_hand()
    start = 256 * 5
    (tmp_path / "f.edf").write_bytes(content[:start] + b"\0" * (len(content) - start))
    with pytest.raises(DataError, match="only 0 of 4 channels are good .4 x flat"):
        load_continuous(tmp_path / "f.edf", Recipe())
