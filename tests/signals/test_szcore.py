"""SzCORE tables: what is read, refused and written, and that epilepsy2bids agrees."""

from datetime import datetime

import pytest

from brainfm.errors import DataError
from brainfm.signals.szcore import (
    COLUMNS,
    is_annotated,
    is_seizure,
    read_tsv,
    seizures_of,
    write_tsv,
)
from brainfm.types import Event

HEADER = "\t".join(COLUMNS)


def table(path, *rows, header=HEADER, end="\n"):
    path.write_bytes((end.join([header, *rows]) + end).encode())
    return path


def row(onset=10, duration=20, kind="sz", length=100):
    return f"{onset}\t{duration}\t{kind}\tn/a\tn/a\tn/a\t{length}"


def test_seizures_are_named_by_their_prefix():
    assert is_seizure("sz") and is_seizure("sz_foc_ia")
    assert not any(is_seizure(x) for x in ("bckg", "szx", "no_signal", "SZ", ""))
    assert is_annotated([Event(0, 9, "bckg")]) and not is_annotated([Event(0, 9, "blink")])


def test_seizures_are_sorted_cut_and_merged_with_a_note_each():
    events = [
        Event(90, 20, "sz"),
        Event(-5, 10, "sz_foc"),
        Event(40, 10, "sz_foc"),
        Event(30, 15, "sz_gen"),
        Event(50, 1, "artifact"),
        Event(200, 5, "sz"),
    ]
    seizures, notes = seizures_of(events, 100.0)
    assert seizures == [Event(0, 5, "sz_foc"), Event(30, 20, "sz"), Event(90, 10, "sz")]
    assert [n.split("s ")[-1] for n in notes if "left out" in n] and len(notes) == 4


def test_seizures_that_touch_stay_two():
    both = [Event(10, 5, "sz"), Event(15, 5, "sz")]
    assert seizures_of(both, 100.0) == (both, [])


@pytest.mark.parametrize(
    "bad", [Event(float("nan"), 5, "sz"), Event(1, 0, "sz"), Event(1, -2, "sz")]
)
def test_a_seizure_without_numbers_is_refused(bad):
    with pytest.raises(DataError, match="correct the annotation"):
        seizures_of([Event(0, 1, "sz"), bad], 100.0)


def test_a_table_is_read_with_the_line_ends_of_any_system(tmp_path):
    path = table(tmp_path / "e.tsv", row(), "", row(60, 5, "sz_foc_ia"), end="\r\n")
    events, duration_s, notes = read_tsv(path)
    assert events == [Event(10, 20, "sz"), Event(60, 5, "sz_foc_ia")]
    assert duration_s == 100.0 and notes == []


def test_a_mark_of_byte_order_does_not_hide_the_first_column(tmp_path):
    path = tmp_path / "e.tsv"
    path.write_text(f"{HEADER}\n{row()}\n", encoding="utf-8-sig")
    assert read_tsv(path)[0] == [Event(10, 20, "sz")]


def test_background_rows_mean_that_somebody_looked(tmp_path):
    path = table(tmp_path / "e.tsv", row(0, 40, "bckg"), row(60, 40, "bckg"))
    assert read_tsv(path)[0] == [Event(0, 100, "bckg")]


def test_background_beside_seizures_is_no_event(tmp_path):
    path = table(tmp_path / "e.tsv", row(0, 10, "bckg"), row(), row(30, 70, "bckg"))
    assert read_tsv(path)[0] == [Event(10, 20, "sz")]


def test_a_table_without_rows_says_nothing(tmp_path):
    events, duration_s, notes = read_tsv(table(tmp_path / "e.tsv"), duration_s=50.0)
    assert (events, duration_s) == ([], 50.0) and "not annotated" in notes[0]


def test_unknown_events_are_ignored_with_their_line(tmp_path):
    path = table(tmp_path / "e.tsv", row(kind="chew"), row(kind="n/a", onset="n/a"), row(40))
    events, _, notes = read_tsv(path)
    assert events == [Event(40, 20, "sz")] and "'chew' (line 2), 'n/a' (line 3)" in notes[0]


def test_the_recordings_own_length_rules_within_the_slack(tmp_path):
    path = table(tmp_path / "e.tsv", row(95, 5))
    events, duration_s, notes = read_tsv(path, duration_s=99.0)
    assert events == [Event(95, 4, "sz")] and duration_s == 99.0 and "is cut" in notes[0]


def test_missing_columns_other_than_the_needed_ones_do_no_harm(tmp_path):
    path = table(tmp_path / "e.tsv", "3\t4\tsz", header="onset\tduration\teventType")
    assert read_tsv(path, 10.0)[0] == [Event(3, 4, "sz")]
    with pytest.raises(DataError, match="nothing says how long"):
        read_tsv(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("\r\n\r\n", "is empty"),
        ("onset,duration,eventType\n1,2,sz\n", "no column onset, duration, eventType"),
        ("onset\tduration\n1\t2\n", "no column eventType"),
        (f"{HEADER}\n{row('n/a')}\n", "line 2: onset of a seizure is 'n/a'"),
        (f"{HEADER}\n{row(5, 'nan')}\n", "line 2: duration of a seizure is 'nan'"),
        (f"{HEADER}\n{row('1,5')}\n", "'1,5'"),
        (f"{HEADER}\n{row(5, 0)}\n", "lasts 0 s"),
        (f"{HEADER}\n{row(5, -3)}\n", "lasts -3 s"),
        (f"{HEADER}\n{row(length=3600)}\n", "of 3600 s, but this one lasts 100 s"),
        (f"{HEADER}\n{row()}\n{row(40, length=200)}\n", "100 and 200 in one table"),
        (f"{HEADER}\n{row(length=0)}\n", "recordingDuration is 0"),
        (f"{HEADER}\n{row()}\t1\n", "8 cells for 7 columns"),
    ],
)
def test_a_wrong_table_is_refused_with_its_name(tmp_path, content, says):
    path = tmp_path / "sub-01_events.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=says) as e:
        read_tsv(path, duration_s=100.0)
    assert str(path) in str(e.value)


def test_a_missing_or_binary_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="missing"):
        read_tsv(tmp_path / "none.tsv")
    (tmp_path / "e.tsv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="no readable table"):
        read_tsv(tmp_path / "e.tsv")


def test_what_is_written_reads_back_the_same(tmp_path):
    path = tmp_path / "new" / "e.tsv"
    events = [Event(60.25, 5.5, "sz"), Event(1, 2, "sz_gen_nm")]
    start = datetime(2020, 2, 3, 4, 5, 6)
    write_tsv(path, events, 100.0, start=start, confidence=[0.75, None])
    assert read_tsv(path, 100.0) == (sorted(events), 100.0, [])
    lines = path.read_text().splitlines()
    assert lines[0] == HEADER
    assert lines[2] == "60.25\t5.50\tsz\t0.75\tn/a\t2020-02-03 04:05:06\t100.00"
    assert [p.name for p in path.parent.iterdir()] == ["e.tsv"]


@pytest.mark.parametrize("events", [[], [Event(0, 50, "bckg")]])
def test_a_recording_without_seizures_gets_one_background_row(tmp_path, events):
    write_tsv(tmp_path / "e.tsv", events, 50.0)
    assert read_tsv(tmp_path / "e.tsv")[0] == [Event(0, 50, "bckg")]
    assert len((tmp_path / "e.tsv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("events", "more", "says"),
    [
        ([Event(0, 1, "no_signal")], {}, "no SzCORE event"),
        ([Event(-1, 5, "sz")], {}, "cut it with seizures_of"),
        ([Event(98, 5, "sz")], {}, "cut it with seizures_of"),
        ([Event(float("nan"), 5, "sz")], {}, "cut it with seizures_of"),
        ([Event(1, 5, "sz")], {"confidence": [1.5]}, "confidence 1.5"),
        ([Event(1, 5, "sz")], {"confidence": []}, "0 confidences for 1 events"),
    ],
)
def test_nothing_wrong_is_written(tmp_path, events, more, says):
    with pytest.raises(DataError, match=says):
        write_tsv(tmp_path / "e.tsv", events, 100.0, **more)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    path = table(tmp_path / "e.tsv", row())
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DataError, match="No space left"):
        write_tsv(path, [], 100.0)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_epilepsy2bids_loads_our_tables(tmp_path):
    annotations = pytest.importorskip("epilepsy2bids.annotations").Annotations
    path = tmp_path / "e.tsv"
    events = [Event(10, 20, "sz_foc_ia"), Event(60, 5, "sz")]
    write_tsv(path, events, 100.0, start=datetime(2020, 1, 1), confidence=[0.5, 1.0])
    theirs = annotations.loadTsv(str(path))
    assert theirs.getEvents() == [(10, 30), (60, 65)]
    assert theirs.getMask(2).sum() == 50 and len(theirs.getMask(2)) == 200
    assert theirs.events[0]["eventType"].value == "sz_foc_ia"
    assert theirs.events[0]["confidence"] == 0.5
    write_tsv(path, [], 100.0)
    assert annotations.loadTsv(str(path)).getEvents() == []


def test_we_load_the_tables_of_epilepsy2bids_and_write_the_same_bytes(tmp_path):
    annotations = pytest.importorskip("epilepsy2bids.annotations").Annotations
    for spans in ([(10.5, 30.25), (60.0, 65.0)], []):
        annotations.loadEvents(spans, 100.0).saveTsv(str(tmp_path / "theirs.tsv"))
        events, duration_s, notes = read_tsv(tmp_path / "theirs.tsv")
        assert [(e.onset_s, e.onset_s + e.duration_s) for e in events if e.label == "sz"] == spans
        assert (duration_s, notes) == (100.0, [])
        write_tsv(tmp_path / "ours.tsv", events, duration_s)
        assert (tmp_path / "ours.tsv").read_bytes() == (tmp_path / "theirs.tsv").read_bytes()
