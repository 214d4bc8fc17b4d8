"""Originals with faults: each file of a seizure set stands for itself when it is converted."""

import os

import numpy as np
import pytest
from prep_helpers import make_raw, write_edf

from brainfm.errors import DataError
from brainfm.signals.positions import standard_positions
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event
from data_prep.datasets import get_dataset
from data_prep.prepare import prepare_one
from data_prep.szcore_convert import blocks_of, read_ledger

pytest.importorskip("epilepsy2bids", reason="conversion needs epilepsy2bids")

ELECTRODES = "Fp1 F3 C3 P3 O1 F7 T3 T5 Fz Cz Pz Fp2 F4 C4 P4 O2 F8 T4 T6".split()
BANANA = "FP1-F7 F7-T7 T7-P7 P7-O1 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 T8-P8 x1 x2 x3".split()
RECIPE = Recipe(sfreq=128.0, highpass_hz=0.5, lowpass_hz=40.0)
SECONDS = 12.0


def edf(path, names, *, seed=0, sfreq=256.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_edf(path, make_raw(names, seconds=SECONDS, sfreq=sfreq, seed=seed, events=False))
    return path


def rename(path, **labels):
    """Labels that MNE's exporter would not write: "-", and two of one name."""
    content = bytearray(path.read_bytes())
    for i in range(int(content[252:256])):
        at = slice(256 + 16 * i, 272 + 16 * i)
        label = content[at].decode().strip()
        content[at] = labels.get(label, label).encode().ljust(16)
    path.write_bytes(content)


def case(root, name, files, *, listed=None, names=BANANA):
    """Recordings of CHB-MIT and their summary; `files` gives each its seizures."""
    folder = root / "chbmit" / "original" / name
    for seed, file in enumerate(files):
        rename(edf(folder / file, names, seed=seed), x1="-", x2="--0", x3="T8-P8")
    text = "Data Sampling Rate: 256 Hz\n\nChannels in EDF Files:\nChannel 1: FP1-F7\n\n"
    for file, seizures in (files if listed is None else listed).items():
        text += f"File Name: {file}\nNumber of Seizures in File: {len(seizures)}\n"
        for k, (a, b) in enumerate(seizures, 1):
            text += f"Seizure {k} Start Time: {a} seconds\nSeizure {k} End Time: {b} seconds\n"
        text += "\n"
    (folder / f"{name}-summary.txt").write_text(text)
    people = folder.parent / "SUBJECT-INFO"
    people.write_text("Case\tGender\tAge (years)\nchb01\tF\t11\nchb02\tM\t11\n")
    return folder


def converted(root, name="chbmit"):
    """By original file: the recording, or the sentence that refuses it."""
    dataset, found = get_dataset(name), {}
    dataset.fetch(root, lambda text: None)
    for job in dataset.jobs(root):
        try:
            found[job.options.get("original", job.name)] = dataset.load(job, RECIPE)
        except DataError as e:
            found[job.name] = str(e)
    return found


def test_a_damaged_file_is_named_and_does_not_end_the_others(tmp_path):
    folder = case(tmp_path, "chb01", {"chb01_01.edf": [(2, 5)], "chb01_02.edf": []})
    (folder / "chb01_03.edf").write_bytes(b"")
    whole = (folder / "chb01_02.edf").read_bytes()
    (folder / "chb01_04.edf").write_bytes(whole[: len(whole) // 2])
    (folder / "chb01_05.EDF").write_bytes(whole)
    found = converted(tmp_path)
    assert found["chb01/chb01_01.edf"].events == [Event(2, 3, "sz")]
    assert found["chb01/chb01_02.edf"].events == [Event(0, SECONDS, "bckg")]
    assert "chb01_03.edf: was not converted" in found["chb01/chb01_03.edf"]
    assert "truncated or damaged" in found["chb01/chb01_04.edf"]
    assert "does not look" in found["chb01/chb01_05.EDF"]
    assert len(list((tmp_path / "chbmit" / "bids").rglob("*_eeg.edf"))) == 2


def test_a_refused_file_is_an_outcome_of_preparation(tmp_path):
    folder = case(tmp_path, "chb01", {"chb01_01.edf": []})
    (folder / "chb01_02.edf").write_bytes(b"0")
    dataset = get_dataset("chbmit")
    dataset.fetch(tmp_path, lambda text: None)
    outcomes = [prepare_one(j, RECIPE, tmp_path / "store") for j in dataset.jobs(tmp_path)]
    assert [o.status for o in outcomes] == ["done", "refused"]
    assert "no EDF header" in outcomes[1].reason


def test_a_file_that_no_summary_mentions_is_not_called_seizure_free(tmp_path):
    listed = {"chb24_01.edf": [(1, 4)], "chb24_09.edf": [(2, 3)]}
    case(tmp_path, "chb24", {"chb24_01.edf": [], "chb24_02.edf": []}, listed=listed)
    found = converted(tmp_path)
    assert found["chb24/chb24_01.edf"].events == [Event(1, 3, "sz")]
    assert found["chb24/chb24_02.edf"].events == []
    # A summary may list files that were not downloaded.
    assert len(found) == 2


def test_a_case_without_its_summary_is_not_annotated(tmp_path):
    case(tmp_path, "chb01", {"chb01_01.edf": []})
    (case(tmp_path, "chb02", {"chb02_16+.edf": []}) / "chb02-summary.txt").unlink()
    found = converted(tmp_path)
    assert found["chb02/chb02_16+.edf"].events == []
    assert found["chb01/chb01_01.edf"].events == [Event(0, SECONDS, "bckg")]


def test_seizures_at_the_borders_past_the_end_and_overlapping_keep_their_times(tmp_path):
    files = {"chb01_01.edf": [(0, 3), (9, 12)], "chb01_02.edf": [(8, 90)]}
    case(tmp_path, "chb01", files | {"chb01_03.edf": [(2, 5), (4, 7)]})
    found = converted(tmp_path)
    assert found["chb01/chb01_01.edf"].events == [Event(0, 3, "sz"), Event(9, 3, "sz")]
    assert found["chb01/chb01_02.edf"].events == [Event(8, 4, "sz")]
    assert found["chb01/chb01_03.edf"].events == [Event(2, 5, "sz")]


def test_odd_and_repeated_labels_of_chbmit_leave_its_derivations(tmp_path):
    case(tmp_path, "chb11", {"chb11_01.edf": []})
    (r,) = converted(tmp_path).values()
    assert len(r.channels) == 11 and r.channels.name.count("T8-P8") == 1
    assert np.isfinite(r.channels.pos_m).all() and r.channels.reference == "bipolar"


def test_recordings_against_one_reference_become_the_derivations_they_allow(tmp_path):
    names = [f"{e.upper()}-CS2" for e in ELECTRODES if e != "Pz"]
    case(tmp_path, "chb12", {"chb12_27.edf": [(1, 2)]}, names=names)
    (r,) = converted(tmp_path).values()
    assert len(r.channels) == 17 and "Cz-Pz" not in r.channels.name
    raw = make_raw(names, seconds=SECONDS, sfreq=256.0, seed=0, events=False)
    x = raw.get_data(["F3-CS2"])[0] - raw.get_data(["C3-CS2"])[0]
    dataset = get_dataset("chbmit")
    untouched = Recipe(sfreq=256.0, highpass_hz=None, lowpass_hz=None, notch=False)
    r = dataset.load(dataset.jobs(tmp_path)[0], untouched)
    assert np.abs(r.signal[:, r.channels.name.index("F3-C3")] - x).max() < 0.05 * x.std()


@pytest.mark.parametrize("date", [b"00.00.00", b"31.02.20", b"01:01:20", b"        "])
def test_a_start_date_that_is_none_costs_no_recording(tmp_path, date):
    folder = case(tmp_path, "chb01", {"chb01_01.edf": [(1, 2)]})
    content = bytearray((folder / "chb01_01.edf").read_bytes())
    content[168:176] = date
    (folder / "chb01_01.edf").write_bytes(content)
    (r,) = converted(tmp_path).values()
    assert r.events == [Event(1, 1, "sz")]


def test_folders_with_other_letters_and_relative_roots_are_converted(tmp_path, monkeypatch):
    root = tmp_path / "données été"
    siena(root, "PN00", "PN00-1.edf", [("19.00.46", "19.00.50")])
    monkeypatch.chdir(root.parent)
    (r,) = converted(type(root)(root.name), "siena").values()
    assert r.events == [Event(2, 4, "sz_foc_ia")]


def test_two_files_that_would_become_one_are_both_refused(tmp_path):
    case(tmp_path, "chb02", {"chb02_01.edf": [(1, 2)], "chb02_02.edf": []})
    case(tmp_path, "chb02_old", {"chb02_01.edf": [(3, 4)]})
    found = converted(tmp_path)
    assert "becomes sub-02/" in found["chb02/chb02_01.edf"]
    assert "becomes sub-02/" in found["chb02_old/chb02_01.edf"]
    assert found["chb02/chb02_02.edf"].events == [Event(0, SECONDS, "bckg")]


def test_gaps_between_records_are_named(tmp_path):
    folder = case(tmp_path, "chb01", {"chb01_01.edf": [(1, 2)]})
    content = (folder / "chb01_01.edf").read_bytes()
    assert content.count(b"+7\x14\x14\0\0") == 1
    content = content.replace(b"+7\x14\x14\0\0", b"+99\x14\x14\0").replace(b"EDF+C", b"EDF+D")
    (folder / "chb01_01.edf").write_bytes(content)
    (said,) = converted(tmp_path).values()
    assert "record 8 begins at 99 s where 7 s is due" in said
    assert said.count("chb01_01.edf") == 1 and said.endswith("bids and run again")


def test_a_file_with_none_of_the_electrodes_or_a_constant_one(tmp_path):
    case(tmp_path, "chb01", {"chb01_01.edf": []}, names=["X1", "X2", "EKG"])
    folder = case(tmp_path, "chb02", {"chb02_01.edf": []})
    raw = make_raw(BANANA[:8], seconds=SECONDS, sfreq=256.0, seed=0, events=False)
    raw._data[2] = 5e-6
    write_edf(folder / "chb02_01.edf", raw)
    found = converted(tmp_path)
    assert "has none of Fp1-F3, F3-C3" in found["chb01/chb01_01.edf"]
    assert len(found["chb02/chb02_01.edf"].channels) == 7


def siena(root, who, file, seizures, *, listed=None, text=None):
    folder = root / "siena" / "original" / who
    edf(folder / file, [f"EEG {n}" for n in ELECTRODES] + ["EKG EKG"], sfreq=512.0)
    blocks = "".join(
        f"Seizure n {k}\nFile name: {listed or file} \nRegistration start time: 19.00.44\n"
        f"Registration end time: 19.00.56\nSeizure start time: {a}\nSeizure end time: {b}\n\n"
        for k, (a, b) in enumerate(seizures, 1)
    )
    (folder / f"Seizures-list-{who}.txt").write_text(text or blocks)
    (folder.parent / "subject_info.csv").write_text(
        "patient_id, age_years, gender, seizure, localization, lateralization\n"
        f"{who},55,Male,IAS,T,R\n"
    )


IN_PN01 = (
    "Seizure n 1 and 2\nFile name: PN01.edf\nRegistration start time: 19.00.44\n"
    "Registration end time: 19.00.56\n\nSeizure n 1\nStart time: 19:00:45\nEnd time: 19:00:47\n\n"
    "Seizure n 2\nStart time: 19:00:50\nEnd time: 19:00:52\n\n"
)


@pytest.mark.parametrize(
    ("file", "listed", "text", "onsets"),
    [
        ("PN10-4.5.6.edf", None, None, [2, 6]),
        ("PN06-1.edf", "PNO6-1.edf", None, [2, 6]),
        ("PN01-1.edf", None, IN_PN01, [1, 6]),
        ("PN14-9.edf", "PN14-1.edf", None, []),
    ],
)
def test_lists_of_siena_with_their_irregularities(tmp_path, file, listed, text, onsets):
    seizures = [("19.00.46", "19.00.48"), ("19.00.50", "19.00.53")]
    siena(tmp_path, file[:4], file, seizures, listed=listed, text=text)
    (r,) = converted(tmp_path, "siena").values()
    assert [e.onset_s for e in r.events] == onsets
    assert all(e.label == "sz_foc_ia" for e in r.events)


def test_a_seizure_of_a_list_that_cannot_be_read_refuses_its_file(tmp_path):
    # The letter at the end of the name is unknown to epilepsy2bids, which would call it calm.
    siena(tmp_path, "PN00", "PN00-1.edf", [("19.00.46", "19.00.50")], listed="pn00-1.EDF")
    (said,) = converted(tmp_path, "siena").values()
    assert "its list announces 1 seizures, 0 could be read" in said


def tusz(root, part, who, session="s001_2015", rows="TERM,2.0,5.5,seiz,1.0\n", reference="REF"):
    folder = root / "tusz" / "original" / part / who / session / "01_tcp_ar"
    stem = f"{who}_{session[:4]}_t000"
    names = [f"EEG {n.upper()}-{reference}" for n in ELECTRODES]
    edf(folder / f"{stem}.edf", names, sfreq=250.0)
    if rows is not None:
        head = "# version = csv_v1.0.0\nchannel,start_time,stop_time,label,confidence\n"
        (folder / f"{stem}.csv_bi").write_text(head + rows)


def test_sessions_references_and_unannotated_files_of_tusz(tmp_path):
    tusz(tmp_path, "train", "aaaa", reference="LE")
    tusz(tmp_path, "train", "aaaa", "s002_2016", "TERM,0,12,bckg,1.0\n")
    tusz(tmp_path, "dev", "bbbb", rows=None)
    tusz(tmp_path, "eval", "cccc", rows="TERM,1,2,odd,1.0\n")
    found = converted(tmp_path, "tusz")
    said = found.pop("eval/cccc/s001_2015/01_tcp_ar/cccc_s001_t000.edf")
    assert "was not converted (KeyError: 'ODD')" in said
    records = {k.split("/")[1] + r.session: r for k, r in found.items()}
    assert records["aaaa00"].events == [Event(2, 3.5, "sz")]
    assert records["aaaa01"].events == [Event(0, SECONDS, "bckg")]
    assert records["bbbb00"].events == [] and records["bbbb00"].split == "val"
    assert records["aaaa00"].split_group == records["aaaa01"].split_group
    assert records["aaaa00"].channels.reference == "average"


def test_a_patient_in_two_parts_of_tusz_is_refused(tmp_path):
    for part in ("train", "dev", "eval"):
        tusz(tmp_path, part, "aaaa" if part != "dev" else "bbbb")
    with pytest.raises(DataError, match="eval/aaaa: this patient lies in train too"):
        get_dataset("tusz").fetch(tmp_path, print)
    assert not os.path.exists(tmp_path / "tusz" / "bids")


def test_seizeit2_is_read_as_it_is_published(tmp_path):
    folder = tmp_path / "seizeit2" / "bids" / "sub-001" / "ses-01" / "eeg"
    stem = "sub-001_ses-01_task-szMonitoring_run-01"
    edf(folder / f"{stem}_eeg.edf", ["BTEleft SD", "CROSStop SD"], sfreq=250.0)
    edf(folder.with_name("ecg") / f"{stem}_ecg.edf", ["ECG SD"], sfreq=250.0)
    (folder / f"{stem}_events.tsv").write_text(
        "onset\tduration\teventType\tlateralization\tlocalization\tvigilance\tdateTime\t"
        "recordingDuration\n0.0\t1.0\timpd\tn/a\tn/a\tn/a\tn/a\t12.0\n"
        "3.0\t4.5\tsz_foc_ia_nm\tleft\ttemp\tawake\tn/a\t12.0\n"
    )
    dataset = get_dataset("seizeit2")
    dataset.fetch(tmp_path, print)
    (job,) = dataset.jobs(tmp_path)
    r = dataset.load(job, RECIPE)
    assert r.events == [Event(3, 4.5, "sz_foc_ia_nm")] and len(r.channels) == 2
    assert np.isnan(r.channels.pos_m).all() and any("'impd'" in n for n in r.notes)


def test_the_ledger_names_what_became_of_each_file(tmp_path):
    case(tmp_path, "chb01", {"chb01_01.edf": []})
    (r,) = converted(tmp_path).values()
    assert "converted from chb01/chb01_01.edf" in r.notes
    (fate,) = read_ledger(tmp_path / "chbmit" / "bids")
    assert fate.original == "chb01/chb01_01.edf" and fate.problem == ""
    assert (tmp_path / "chbmit" / "bids" / fate.converted).exists()
    assert read_ledger(tmp_path) == []


def test_blocks_of_a_list_are_told_by_their_file():
    text = "head\nFile name: a.edf \nx\n  file Name: b.edf\r\ny\n"
    assert blocks_of(text) == [("a.edf", "x\n"), ("b.edf", "y\n")]


def test_electrodes_named_with_a_reference_stand_where_they_are(tmp_path):
    from brainfm.signals.bipolar import place_derivations
    from data_prep.scalp import scalp_channels

    known = standard_positions()
    placed, notes = place_derivations(scalp_channels(["C3-A2", "C4-A1", "F3-C3"]))
    np.testing.assert_allclose(placed.pos_m[0], known["C3"], atol=1e-6)
    middle = (np.array(known["F3"]) + np.array(known["C3"])) / 2
    np.testing.assert_allclose(placed.pos_m[2], middle, atol=1e-6)
    assert placed.reference == "unknown" and len(notes) == 2
    to_one, _ = place_derivations(scalp_channels(["Fp1-Cz", "F3-Cz", "O1-Cz"]))
    np.testing.assert_allclose(to_one.pos_m[2], known["O1"], atol=1e-6)
    assert to_one.reference == "Cz"
