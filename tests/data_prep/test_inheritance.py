"""BIDS files inherit: sidecars add up from the root down, of tables the nearest counts."""

import json

import pytest

from brainfm.errors import DataError
from data_prep.readers.inheritance import entities, events_table, inherited, read_sidecar, sidecars

EVENTS = "onset\tduration\ttrial_type\n1\t2\tface\n"


@pytest.fixture()
def raw(tmp_path):
    """A data set whose TR stands at its root, as most published ones have it."""
    root = tmp_path / "study"
    func = root / "sub-01" / "ses-a" / "func"
    func.mkdir(parents=True)
    (root / "dataset_description.json").write_text("{}")
    write(root / "task-x_bold.json", RepetitionTime=2.0, EchoTime=0.03)
    write(root / "task-y_bold.json", RepetitionTime=9.0)
    write(root / "task-x_events.json", onset="what it is")
    return func / "sub-01_ses-a_task-x_run-1_bold.nii.gz"


def write(path, **content):
    path.write_text(json.dumps(content))
    return path


def test_names_are_entities_and_a_suffix():
    assert entities("sub-01_task-x_bold.nii.gz") == ({"sub": "01", "task": "x"}, "bold")
    assert entities("my_scan_bold.nii.gz") is None and entities("sub-01_task-x.nii") is None


def test_sidecars_add_up_and_the_nearest_wins(raw):
    assert read_sidecar(raw) == {"RepetitionTime": 2.0, "EchoTime": 0.03}
    write(raw.parent.parent / "sub-01_ses-a_bold.json", EchoTime=0.025)
    write(raw.parent / "sub-01_ses-a_task-x_run-1_bold.json", RepetitionTime=1.5)
    write(raw.parent / "sub-01_ses-a_task-x_run-2_bold.json", RepetitionTime=7.0)
    assert read_sidecar(raw) == {"RepetitionTime": 1.5, "EchoTime": 0.025}
    assert [p.parent.name for p in sidecars(raw)] == ["study", "ses-a", "func"]


def test_nothing_is_inherited_from_beyond_the_data_set(raw):
    write(raw.parents[4] / "task-x_bold.json", RepetitionTime=5.0)
    assert read_sidecar(raw)["RepetitionTime"] == 2.0
    (raw.parents[3] / "dataset_description.json").unlink()
    assert read_sidecar(raw) == {}


def test_sidecars_of_any_folder_may_be_refused(raw):
    broken = raw.parents[3] / "task-x_bold.json"
    broken.write_text("{")
    with pytest.raises(DataError, match="study/task-x_bold.json: no readable JSON"):
        read_sidecar(raw)


def test_a_surface_has_the_sidecar_of_its_run(raw):
    surface = raw.with_name("sub-01_ses-a_task-x_run-1_hemi-L_space-fsaverage5_bold.func.gii")
    assert read_sidecar(surface)["RepetitionTime"] == 2.0
    series = raw.with_name("sub-01_ses-a_task-x_run-1_space-fsLR_den-91k_bold.dtseries.nii")
    write(series.with_name(series.name.split(".")[0] + ".json"), RepetitionTime=0.8)
    assert read_sidecar(series)["RepetitionTime"] == 0.8


def test_events_are_the_nearest_table(raw):
    assert events_table(raw) is None
    root = raw.parents[3]
    (root / "task-x_events.tsv").write_text(EVENTS)
    (root / "task-x_run-2_events.tsv").write_text(EVENTS)
    assert events_table(raw) == root / "task-x_events.tsv"
    own = raw.with_name("sub-01_ses-a_task-x_run-1_events.tsv")
    own.write_text(EVENTS)
    assert events_table(raw) == own


def test_what_fmriprep_wrote_has_the_events_of_the_raw_data(raw):
    own = raw.with_name("sub-01_ses-a_task-x_run-1_events.tsv")
    own.write_text(EVENTS)
    prep = raw.parents[3] / "derivatives" / "fmriprep"
    (prep / "sub-01" / "ses-a" / "func").mkdir(parents=True)
    (prep / "dataset_description.json").write_text("{}")
    image = prep / "sub-01" / "ses-a" / "func" / raw.name
    assert events_table(image) == own
    # Its TR is its own: what was resampled is not what the scanner did.
    assert inherited(image, ".json") == []
