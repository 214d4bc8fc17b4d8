"""CHB-MIT, TUSZ, Siena and SeizeIT: small originals, converted by epilepsy2bids and read."""

import numpy as np
import pytest
from prep_helpers import make_raw, write_edf

from brainfm.data.store import build_tables, write_recording
from brainfm.errors import DataError
from brainfm.signals.bipolar import electrodes_of, place_derivations
from brainfm.signals.positions import standard_positions
from brainfm.signals.preprocess import Recipe
from brainfm.signals.szcore import write_tsv
from brainfm.types import Event
from data_prep.datasets import get_dataset
from data_prep.scalp import scalp_channels
from data_prep.szcore_bids import SzcoreBids

pytest.importorskip("epilepsy2bids", reason="conversion needs epilepsy2bids")

ELECTRODES = "Fp1 F3 C3 P3 O1 F7 T3 T5 Fz Cz Pz Fp2 F4 C4 P4 O2 F8 T4 T6".split()
BANANA = (
    "FP1-F7 F7-T7 T7-P7 P7-O1 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2 FP2-F8 F8-T8 "
    "T8-P8 P8-O2 FZ-CZ CZ-PZ P7-T7 T7-FT9 FT9-FT10 FT10-T8"
).split()
RECIPE = Recipe(sfreq=128.0, highpass_hz=0.5, lowpass_hz=40.0)
SECONDS = 20.0
SETS = ("chbmit", "siena", "tusz", "seizeit")


def edf(path, names, *, seconds=SECONDS, seed=0, sfreq=256.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_edf(path, make_raw(names, seconds=seconds, sfreq=sfreq, seed=seed, events=False))
    return path


def chbmit(folder, names=BANANA, count=1):
    for seed, case in enumerate(("chb01", "chb02", "chb21")):
        edf(folder / case / f"{case}_01.edf", names, seed=seed)
        n = count if case == "chb02" else 0
        (folder / case / f"{case}-summary.txt").write_text(
            f"Data Sampling Rate: 256 Hz\n\nFile Name: {case}_01.edf\n"
            f"Number of Seizures in File: {n}\n"
            + ("Seizure Start Time: 5 seconds\nSeizure End Time: 9 seconds\n" if n else "")
        )
    (folder / "SUBJECT-INFO").write_text("Case\tGender\tAge (years)\nchb01\tF\t11\nchb02\tM\t11\n")


def siena(folder):
    edf(folder / "PN00" / "PN00-1.edf", [f"EEG {n}" for n in ELECTRODES] + ["EKG EKG"], sfreq=512.0)
    (folder / "PN00" / "Seizures-list-PN00.txt").write_text(
        "File name: PN00-1.edf\nRegistration start time: 19.00.44\n"
        "Registration end time:  19.01.04\nSeizure start time: 19.00.50\n"
        "Seizure end time: 19.00.58\n"
    )
    (folder / "subject_info.csv").write_text(
        "patient_id, age_years, gender, seizure, localization, lateralization\n"
        "PN00,55,Male,IAS,T,R\n"
    )


def tusz(folder):
    for seed, (part, who) in enumerate((("train", "aaaa"), ("dev", "bbbb"), ("eval", "cccc"))):
        session = folder / part / who / "s001_2015" / "01_tcp_ar"
        names = [f"EEG {n.upper()}-REF" for n in ELECTRODES if (n, who) != ("Pz", "bbbb")]
        stem = f"{who}_s001_t000"
        edf(session / f"{stem}.edf", names, seed=seed)
        (session / f"{stem}.csv_bi").write_text(
            "# version = csv_v1.0.0\nchannel,start_time,stop_time,label,confidence\n"
            "TERM,0.0000,12.0000,bckg,1.0000\nTERM,12.0000,17.5000,seiz,1.0000\n"
        )


def seizeit(folder):
    edf(folder / "P_ID01" / "P_ID01_r1.edf", ELECTRODES)
    (folder / "P_ID01" / "P_ID01_r1_a1.tsv").write_text("# sex: M\n4\tnan\tFIA\tlat:L, loc:temp\n")


MAKE = {"chbmit": chbmit, "siena": siena, "tusz": tusz, "seizeit": seizeit}


def load_all(dataset, root):
    return {j.name: dataset.load(j, RECIPE) for j in dataset.jobs(root)}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A data root with all four originals, converted."""
    root = tmp_path_factory.mktemp("root")
    said = []
    for name, make in MAKE.items():
        make(root / name / "original")
        get_dataset(name).fetch(root, said.append)
    assert len(said) == 4
    return root


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_is_not_there_is_refused_with_its_home(tmp_path, name):
    dataset = get_dataset(name)
    assert isinstance(dataset, SzcoreBids)
    with pytest.raises(DataError, match="brainfm does not download it") as e:
        dataset.fetch(tmp_path, print)
    assert dataset.facts.origin in str(e.value) and str(tmp_path / name) in str(e.value)


@pytest.mark.parametrize("name", SETS)
def test_a_converted_set_is_not_converted_again(roots, name):
    get_dataset(name).fetch(roots, lambda text: pytest.fail(text))
    assert not (roots / name / "bids.partial").exists()


def test_chbmit_is_bipolar_with_places_between_electrodes(roots):
    found = load_all(get_dataset("chbmit"), roots)
    r = found["sub-02_ses-01_task-szMonitoring_run-00"]
    assert r.events == [Event(5.0, 4.0, "sz")]
    assert len(r.channels) == 18 and r.channels.reference == "bipolar"
    assert r.channels.frame == "head"
    at = r.channels.name.index("F7-T7")
    known = standard_positions()
    middle = (np.array(known["F7"]) + np.array(known["T7"])) / 2
    np.testing.assert_allclose(r.channels.pos_m[at], middle, atol=1e-6)
    assert not any(n.startswith("no position") for n in r.notes)
    calm = found["sub-01_ses-01_task-szMonitoring_run-00"]
    assert calm.events == [Event(0.0, SECONDS, "bckg")]


def test_the_girl_who_came_twice_is_one_group(roots):
    found = load_all(get_dataset("chbmit"), roots)
    groups = {r.session: r.split_group for r in found.values() if r.subject == "01"}
    assert groups == {"01": "chbmit/01", "02": "chbmit/01"}


def test_another_copy_of_chbmit_that_keeps_sub_21_is_one_group_too(tmp_path):
    folder = tmp_path / "chbmit" / "bids" / "sub-21" / "ses-01" / "eeg"
    edf(folder / "sub-21_ses-01_task-x_run-00_eeg.edf", BANANA[:8])
    (r,) = load_all(get_dataset("chbmit"), tmp_path).values()
    assert r.split_group == "chbmit/01" and r.events == []
    assert any("events.tsv is missing: seizures are not annotated" in n for n in r.notes)


def test_summaries_that_the_converter_cannot_read_are_found_out(tmp_path):
    original = tmp_path / "chbmit" / "original"
    chbmit(original)
    summary = original / "chb02" / "chb02-summary.txt"
    summary.write_bytes(summary.read_bytes().replace(b".edf\n", b".edf \n"))
    get_dataset("chbmit").fetch(tmp_path, print)
    *good, bad = get_dataset("chbmit").jobs(tmp_path)
    assert len(good) == 2
    with pytest.raises(DataError, match="announces 1 seizures, 0 could be read"):
        get_dataset("chbmit").load(bad, RECIPE)


def test_a_missing_derivation_is_left_out_and_the_rest_is_kept(tmp_path):
    chbmit(tmp_path / "chbmit" / "original", names=[n for n in BANANA if n != "CZ-PZ"])
    get_dataset("chbmit").fetch(tmp_path, print)
    for r in load_all(get_dataset("chbmit"), tmp_path).values():
        assert len(r.channels) == 17 and "Cz-Pz" not in r.channels.name


def test_siena_keeps_the_kind_of_its_seizures(roots):
    (r,) = load_all(get_dataset("siena"), roots).values()
    assert r.events == [Event(6.0, 8.0, "sz_foc_ia")]
    assert len(r.channels) == 19 and r.channels.reference == "average"
    assert {"T7", "T8", "P7", "P8"} <= set(r.channels.name)
    assert np.isfinite(r.channels.pos_m).all()


def test_tusz_keeps_its_official_parts(roots):
    found = load_all(get_dataset("tusz"), roots)
    assert sorted(r.split for r in found.values()) == ["test", "train", "val"]
    assert all(r.events == [Event(12.0, 5.5, "sz")] for r in found.values())


def test_an_electrode_that_was_not_there_is_not_made_of_the_others(roots):
    val = next(r for r in load_all(get_dataset("tusz"), roots).values() if r.split == "val")
    assert len(val.channels) == 18 and "Pz" not in val.channels.name
    # The average is over those that are there: nothing is left of it.
    assert np.abs(val.signal.mean(1)).max() < 0.05 * val.signal.std()


def test_seizeit_without_an_end_lasts_thirty_seconds_at_most(roots):
    (r,) = load_all(get_dataset("seizeit"), roots).values()
    assert r.events == [Event(4.0, SECONDS - 4.0, "sz_foc_ia")]
    assert any("is cut at the recording's ends" in n for n in r.notes)


def bids_file(root, *, names=ELECTRODES, table=None, sub="sub-01", seconds=SECONDS, name="siena"):
    folder = root / name / "bids" / sub / "ses-01" / "eeg"
    path = edf(folder / f"{sub}_ses-01_task-x_run-01_eeg.edf", names, seconds=seconds)
    if table is not None:
        (folder / f"{sub}_ses-01_task-x_run-01_events.tsv").write_text(
            "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"
            + table
        )
    return path


def only(root, name="siena"):
    (job,) = get_dataset(name).jobs(root)
    return get_dataset(name).load(job, RECIPE)


def row(onset, duration, kind="sz", length=SECONDS):
    return f"{onset}\t{duration}\t{kind}\tn/a\tn/a\tn/a\t{length}\n"


@pytest.mark.parametrize(
    ("table", "events"),
    [
        (row(0, 3), [Event(0, 3, "sz")]),
        (row(17, 3), [Event(17, 3, "sz")]),
        (row(15, 30), [Event(15, 5, "sz")]),
        (row(400, 30), [Event(0, 20, "bckg")]),
        (row(2, 6) + row(5, 5, "sz_gen"), [Event(2, 8, "sz")]),
        (row(0, 20, "bckg"), [Event(0, 20, "bckg")]),
        ("", []),
        (row(1, 2, "eyem"), []),
    ],
)
def test_seizures_at_edges_past_the_end_overlapping_or_absent(tmp_path, table, events):
    bids_file(tmp_path, table=table)
    r = only(tmp_path)
    assert r.events == events
    assert all(0 <= e.onset_s and e.onset_s + e.duration_s <= r.duration_s for e in r.events)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (row(1, 2, length=3600), "made for a recording of 3600 s"),
        (row("n/a", 2), "onset of a seizure is 'n/a'"),
        (row(5, -1), "lasts -1 s"),
    ],
)
def test_a_table_that_cannot_be_right_refuses_the_recording(tmp_path, table, says):
    bids_file(tmp_path, table=table)
    with pytest.raises(DataError, match=says) as e:
        only(tmp_path)
    assert "sub-01_ses-01_task-x_run-01_events.tsv" in str(e.value)


def test_missing_extra_and_unknown_channels_are_kept_apart(tmp_path):
    bids_file(tmp_path, names=["Fp1", "C3", "Pz", "EKG1", "X7", "Photic"], table=row(1, 2))
    r = only(tmp_path)
    assert r.channels.name[:3] == ("Fp1", "C3", "Pz")
    assert "Photic" not in r.channels.name
    assert np.isnan(r.channels.pos_m[r.channels.name.index("X7")]).all()
    assert any("no position for" in n and "X7" in n for n in r.notes)


def test_patients_with_different_channels_prepare_side_by_side(tmp_path):
    bids_file(tmp_path, names=ELECTRODES, table=row(1, 2))
    bids_file(tmp_path, names=ELECTRODES[:11], table=row(0, 20, "bckg"), sub="sub-02")
    sizes = [len(r.channels) for r in load_all(get_dataset("siena"), tmp_path).values()]
    assert sizes == [19, 11]


def test_a_clock_that_jumps_is_refused(tmp_path):
    path = bids_file(tmp_path, table=row(1, 2))
    content = path.read_bytes()
    # EDF+ writes the start of each record as "+7"; here record 8 begins 92 s late.
    assert content.count(b"+7\x14\x14\0\0") == 1
    content = content.replace(b"+7\x14\x14\0\0", b"+99\x14\x14\0")
    path.write_bytes(content.replace(b"EDF+C", b"EDF+D"))
    with pytest.raises(DataError, match="record 8 begins at 99 s where 7 s is due"):
        only(tmp_path)


def test_official_parts_must_be_said_once(tmp_path):
    bids_file(tmp_path, table=row(1, 2), name="tusz")
    with pytest.raises(DataError, match=r"no participants\.tsv"):
        only(tmp_path, "tusz")
    people = tmp_path / "tusz" / "bids" / "participants.tsv"
    people.write_text("participant_id\tTUH_id\tsplit\nsub-01\ta\ttrain\nsub-01\ta\teval\n")
    with pytest.raises(DataError, match="sub-01 is in eval and train split"):
        only(tmp_path, "tusz")
    people.write_text("participant_id\tTUH_id\tsplit\nsub-07\ta\ttrain\n")
    with pytest.raises(DataError, match="sub-01 is in no split"):
        only(tmp_path, "tusz")
    people.write_text("participant_id\tTUH_id\tsplit\nsub-01\ta\tdev\n")
    assert only(tmp_path, "tusz").split == "val"


def test_a_person_on_two_sides_is_refused_when_the_store_is_used(tmp_path, roots):
    found = [r for r in load_all(get_dataset("chbmit"), roots).values() if r.subject == "01"]
    for r, split in zip(found, ("train", "test"), strict=True):
        r.split = split
        write_recording(r, tmp_path / "chbmit" / f"{r.name}.safetensors", recipe=RECIPE)
    with pytest.raises(DataError, match="group 'chbmit/01' lies in test"):
        build_tables(tmp_path)


def test_a_converted_signal_is_the_recorded_one(roots):
    untouched = Recipe(sfreq=256.0, highpass_hz=None, lowpass_hz=None, notch=False)
    dataset = get_dataset("chbmit")
    job = next(j for j in dataset.jobs(roots) if "sub-02" in j.name)
    r = dataset.load(job, untouched)
    recorded = make_raw(BANANA, seconds=SECONDS, sfreq=256.0, seed=1, events=False)
    x = recorded.get_data(["P3-O1"])[0]
    assert np.abs(r.signal[:, r.channels.name.index("P3-O1")] - x).max() < 0.05 * x.std()


def test_derivations_are_told_from_other_names():
    assert electrodes_of("FP1-F7") == ("Fp1", "F7") and electrodes_of("T3-T5") == ("T7", "P7")
    for other in ("Fp1", "Fp1-REF", "Fp1-Avg", "LA1-LA2", "T8-P8-0", "C3-C3", "-"):
        assert electrodes_of(other) is None


def test_electrodes_keep_their_reference_beside_derivations():
    channels = scalp_channels(["Fp1", "F3-C3", "X1"], reference="Cz")
    placed, notes = place_derivations(channels)
    assert placed.reference == "Cz" and notes and placed.name == channels.name
    assert np.isfinite(placed.pos_m[1]).all() and np.isnan(placed.pos_m[2]).all()
    assert place_derivations(scalp_channels(["Fp1"]))[1] == []


def test_a_table_written_by_us_is_read_by_the_set(tmp_path):
    path = bids_file(tmp_path)
    write_tsv(path.with_name(path.name.replace("_eeg.edf", "_events.tsv")), [Event(3, 4, "sz")], 20)
    assert only(tmp_path).events == [Event(3, 4, "sz")]
