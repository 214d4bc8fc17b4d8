"""Every data set: its facts are complete, and it reads what it fetched."""

import importlib
import pkgutil

import numpy as np
import pytest
from prep_helpers import make_raw, write_edf

import data_prep.datasets as room
from brainfm.data.splits import split_of
from brainfm.errors import DataError
from brainfm.signals.positions import standard_positions
from brainfm.signals.preprocess import Recipe
from brainfm.types import Kind
from data_prep.dataset import DataSet, Job, Package
from data_prep.datasets import all_datasets, get_dataset
from data_prep.datasets.bsnb_small import FILES, SPLIT, is_switch, presses
from data_prep.datasets.eegmmidb import labels_of_run
from data_prep.datasets.mitdb import read_millivolts
from data_prep.trials import TrialSet

ALL = all_datasets()
KINDS = {"EEG", "MEG", "ECOG", "SEEG", "EMG", "ECG", "BOLD"}


@pytest.mark.parametrize("name", ALL)
def test_facts_are_complete(name):
    facts = ALL[name].facts
    assert all((facts.title, facts.licence, facts.citation, facts.splits))
    assert set(facts.kinds) <= KINDS and facts.kinds
    if isinstance(facts.origin, Package):
        assert len(facts.origin.sha256) == 64 and int(facts.origin.sha256, 16)
    else:
        assert facts.origin.startswith("https://")
    assert name == name.lower() and name.isidentifier()


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_there_before_it_is_fetched(name, tmp_path):
    assert ALL[name].jobs(tmp_path) == []


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(room.__path__)])
def test_every_module_holds_a_data_set(module):
    content = vars(importlib.import_module(f"data_prep.datasets.{module}")).values()
    assert [v for v in content if isinstance(v, DataSet)]


@pytest.mark.parametrize("name", [n for n, d in ALL.items() if isinstance(d, TrialSet)])
def test_electrodes_of_trial_sets_have_places(name):
    channels = ALL[name].channels()
    known = [n for n in channels.name if n != "EOGv"]
    finite = np.isfinite(channels.pos_m).all(1)
    assert finite.sum() == len(known)
    if "EEG" in ALL[name].facts.kinds:
        assert set(known) <= set(standard_positions())


def test_an_unknown_name_lists_the_known():
    with pytest.raises(DataError, match="'aeon' is unknown; known: aeon_blink"):
        get_dataset("aeon")


def test_hand_movement_is_magnetometers_with_unit_normals():
    channels = get_dataset("aeon_hmd").channels()
    assert set(channels.kind.tolist()) == {Kind.MAG} and set(channels.unit) == {"T"}
    np.testing.assert_allclose(np.linalg.norm(channels.ori, axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("folder", ["eegmmidb/S001", "MNE-eegbci-data/files/eegmmidb/1.0.0/S001"])
def test_eegmmidb_takes_a_filled_root_in_either_layout_without_the_internet(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    names = ["Fc5.", "C3..", "Cz..", "Oz.."]
    raw = make_raw(names, seconds=10, sfreq=160.0)
    raw.annotations.description[:] = ["T1", "T2"]
    write_edf(tmp_path / folder / "S001R04.edf", raw)
    dataset = get_dataset("eegmmidb")
    dataset.fetch(tmp_path, lambda text: pytest.fail(f"tried to download: {text}"))
    (job,) = dataset.jobs(tmp_path)
    r = dataset.load(job, Recipe())
    assert (r.subject, r.session, r.split_group) == ("S001", "R04", "eegmmidb/S001")
    assert [e.label for e in r.events] == ["left_fist", "right_fist"]
    assert r.channels.name == ("FC5", "C3", "Cz", "Oz")


def test_labels_of_eegmmidb_depend_on_the_run():
    assert labels_of_run(3)["T2"] == labels_of_run(12)["T2"] == "right_fist"
    assert labels_of_run(5)["T1"] == "both_fists" and labels_of_run(14)["T2"] == "both_feet"
    assert labels_of_run(1) == {"T0": "rest_eyes_open"}


def test_one_person_in_two_data_sets_is_one_group(tmp_path):
    path = tmp_path / "S001R02.edf"
    write_edf(path, make_raw(["Cz..", "Pz.."], seconds=10, sfreq=160.0))
    r = get_dataset("bsnb_s001r02").load(Job("bsnb_s001r02", "S001R02", (str(path),)), Recipe())
    assert r.split_group == "eegmmidb/S001" and split_of(r.split_group) == "train"


def write_plux(path, counts, sfreq=1000, bits=16):
    import h5py

    with h5py.File(path, "w") as f:
        device = f.create_group("00:07:80:00:00:00")
        device.attrs["sampling rate"] = sfreq
        device.attrs["resolution"] = [bits] * len(counts)
        raw = device.create_group("raw")
        for i, x in enumerate(counts, 1):
            raw.create_dataset(f"channel_{i}", data=np.asarray(x, np.uint16)[:, None])
    return path


def test_plux_counts_become_volts_and_a_switch_becomes_events(tmp_path):
    rng = np.random.default_rng(0)
    n = 40_000
    signal = 32768 + 3000 * np.sin(2 * np.pi * 10 * np.arange(n) / 1000) + 300 * rng.random(n)
    switch = np.full(n, 22000)
    switch[10_000:15_000] = 54_000
    path = write_plux(tmp_path / "a.h5", [signal, switch])
    r = get_dataset("bsnb_eeg").load(Job("bsnb_eeg", "a", (str(path),)), Recipe())
    assert len(r.channels) == 1 and [(e.onset_s, e.duration_s) for e in r.events] == [(10.0, 5.0)]
    # 3000 of 65536 counts of 3 V, behind an amplifier of 41990.
    assert r.signal.std() * 2**0.5 == pytest.approx(3000 / 65536 * 3 / 41990, rel=0.05)
    assert np.isnan(r.channels.pos_m).all()


def test_switches_are_told_from_signals():
    rng = np.random.default_rng(0)
    assert is_switch(22000 + rng.integers(0, 40, 5000).astype(float))
    assert not is_switch(32768 + 900 * rng.standard_normal(5000))
    assert presses(np.full(100, 22000.0), 1000) == []


def test_a_damaged_plux_file_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\nxxxx")
    with pytest.raises(DataError, match=r"a\.h5: not a PLUX recording"):
        get_dataset("bsnb_ecg").load(Job("bsnb_ecg", "a", (str(tmp_path / "a.h5"),)), Recipe())


def test_codecs_are_tested_on_recordings_that_do_not_train():
    sides = {job: side for job, side in SPLIT.items() if job.startswith("emg")}
    assert sorted(sides.values()) == ["test", "train", "val"]
    assert set(SPLIT) == {n for kind in ("EMG", "ECG") for n in FILES[kind]}


@pytest.mark.parametrize("name", ["mitdb_208", "mitdb_short"])
def test_millivolts_of_a_heart_become_volts_of_a_tested_recording(tmp_path, name):
    dataset = get_dataset(name)
    beat = np.sin(2 * np.pi * 10 * np.arange(360 * 40) / 360)
    path = tmp_path / dataset.file
    if path.suffix == ".npz":
        np.savez(path, ecg=beat)
    else:
        np.savetxt(path, np.stack([beat, 0 * beat], 1), delimiter=",", header="data,label",
                   comments="")  # fmt: skip
    r = dataset.load(Job(name, "a", (str(path),)), Recipe())
    assert r.split == "test" and r.split_group == "mitdb" and len(r.channels) == 1
    assert r.signal.std() == pytest.approx(1e-3 / 2**0.5, rel=0.02)
    assert r.duration_s == pytest.approx(40, abs=0.1)


def test_a_damaged_heart_is_refused(tmp_path):
    for name, content in (("a.npz", b"PK\x03\x04xxxx"), ("a.csv", b"hat\n1\n"), ("b.csv", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="not an ECG of these packages"):
            read_millivolts(tmp_path / name)
    np.savez(tmp_path / "b.npz", ecg=np.full(9, np.nan))
    with pytest.raises(DataError, match="not one row of numbers"):
        read_millivolts(tmp_path / "b.npz")
