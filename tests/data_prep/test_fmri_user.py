"""A user's own images: BIDS names, events, fMRIPrep's confounds, scrubbing that keeps times."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest

from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Kind, Recording
from data_prep.cli import main
from data_prep.readers import fmriprep
from data_prep.user import UserOptions, load_user_job, user_jobs
from data_prep.user_fmri import read_events

FRAMES = 60


def image(path, change=None, frames=FRAMES):
    rng = np.random.default_rng(0)
    x = 500 + 5 * rng.normal(size=(5, 6, 4, frames)).astype(np.float32)
    if change is not None:
        change(x)
    made = nibabel.Nifti1Image(x, np.diag([4.0, 4.0, 4.0, 1.0]))
    made.header.set_zooms((4, 4, 4, 2.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(made, path)
    return path


def test_a_folder_of_runs_becomes_a_store(tmp_path):
    for subject in ("01", "02", "03"):
        seed = int(subject)

        def own(x, seed=seed):
            x += seed * np.random.default_rng(seed).normal(size=x.shape)

        folder = tmp_path / "study" / f"sub-{subject}" / "func"
        path = image(folder / f"sub-{subject}_task-x_bold.nii.gz", own)
        image(folder.parent / "anat" / f"sub-{subject}_T1w.nii.gz")
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(
            json.dumps({"RepetitionTime": 2.0, "StartTime": 1.0})
        )
        path.with_name(f"sub-{subject}_task-x_events.tsv").write_text(
            "onset\tduration\ttrial_type\n10\t4\tface\n30\t4\thouse\n"
        )
    root = tmp_path / "data"
    args = ["run", "--source", str(tmp_path / "study"), "--data-root", str(root), "--jobs", "0"]
    assert main([*args, "--drop", "2"]) == 0
    store = Store(root / "store")
    assert store.recordings["subject"].tolist() == ["01", "02", "03"]
    assert store.sfreq(0) == 0.5 and store.start_s(0) == 5.0
    assert int(store.recordings["n_samples"].iat[0]) == FRAMES - 2
    assert [(e.onset_s, e.label) for e in store.events(0)] == [(5.0, "face"), (25.0, "house")]


def test_a_tr_that_only_the_user_knows(tmp_path):
    path = image(tmp_path / "run_bold.nii.gz")
    found = user_jobs(path, UserOptions(tr_s=1.5))
    assert len(found) == 1 and found[0].options["fmri"]["tr_s"] == 1.5


def test_events_are_found_beside_preprocessed_images_and_refused_if_broken(tmp_path):
    path = tmp_path / "sub-1_task-x_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    table = tmp_path / "sub-1_task-x_events.tsv"
    assert read_events(path) == []
    table.write_text("onset\tduration\ttrial_type\n1.5\t2\tn/a\nn/a\t2\tface\n")
    assert [(e.onset_s, e.duration_s, e.label) for e in read_events(path)] == [(1.5, 2.0, "event")]
    table.write_text("onset\tlength\n1\t2\n")
    with pytest.raises(DataError, match="needs columns onset and duration in seconds"):
        read_events(path)


def test_events_after_the_run_are_left_out_or_refused(tmp_path):
    path = image(tmp_path / "sub-1_task-x_bold.nii.gz")
    table = tmp_path / "sub-1_task-x_events.tsv"
    table.write_text("onset\tduration\n10\t2\n30\t2\n500\t2\n")
    (job,) = user_jobs(path, UserOptions(tr_s=2.0))
    recording = load_user_job(job, Recipe())
    assert [e.onset_s for e in recording.events] == [10, 30]
    assert any("1 of 3 events begin after the last frame (120 s)" in n for n in recording.notes)
    table.write_text("onset\tduration\n10000\t2000\n30000\t2000\n")
    with pytest.raises(DataError, match="2 of 2 events begin after .* at 30000 s; give seconds"):
        load_user_job(job, Recipe())


def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path):
    path = image(tmp_path / "sub-1_task-x_bold.nii.gz")
    with pytest.raises(DataError, match="--drop is -1"):
        user_jobs(path, UserOptions(drop=-1))
    with pytest.raises(DataError, match="nowhere.nii: missing; check --mask"):
        user_jobs(path, UserOptions(mask="nowhere.nii"))


def run(x_TC):
    n = x_TC.shape[1]
    zeros = np.zeros((n, 3))
    channels = Channels(
        tuple("abcdef"[:n]), np.full(n, Kind.BOLD), zeros, zeros, ("au",) * n, "mni"
    )
    return Recording(x_TC, 0.5, channels, "d", "01", start_s=4.0)


def confounds(monkeypatch, table, kept=None):
    import nilearn.interfaces.fmriprep as theirs

    monkeypatch.setattr(theirs, "load_confounds_strategy", lambda *_, **__: (table, kept))


def test_what_confounds_explain_goes_and_the_mean_stays(monkeypatch):
    rng = np.random.default_rng(0)
    motion, signal = rng.normal(size=(FRAMES, 2)), rng.normal(size=(FRAMES, 1))
    x = 100 + signal + motion @ np.array([[3.0], [-2.0]])
    confounds(monkeypatch, pd.DataFrame(motion))
    out = fmriprep.cleaned(run(x), "a.nii.gz", "simple")
    assert abs(out.signal.mean() - x.mean()) < 1e-6
    left = np.corrcoef(np.c_[out.signal[:, 0], motion].T)[0, 1:]
    assert np.abs(left).max() < 1e-6
    assert "2 nuisance columns" in out.notes[-1]


def test_scrubbed_frames_part_intervals_and_move_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    kept = np.setdiff1d(np.arange(FRAMES), [20, 21, 40])
    confounds(monkeypatch, pd.DataFrame(rng.normal(size=(FRAMES, 1))), kept)
    x = rng.normal(size=(FRAMES, 2))
    out = fmriprep.cleaned(run(x), "a.nii.gz", "scrubbing")
    assert len(out.signal) == FRAMES and out.start_s == 4.0
    assert out.intervals_s == [(0, 40), (44, 80), (82, 120)]
    assert "3 frames scrubbed" in out.notes[-1]


def test_dropped_frames_are_dropped_from_the_table_too(monkeypatch):
    motion = np.zeros((FRAMES, 1))
    motion[3] = 1.0
    confounds(monkeypatch, pd.DataFrame(motion))
    x = np.zeros((FRAMES - 3, 1))
    x[0] = 7.0
    out = fmriprep.cleaned(run(x), "a.nii.gz", "simple", drop=3)
    assert np.ptp(out.signal) < 1e-9


def test_tables_that_do_not_fit_are_refused(monkeypatch, tmp_path):
    confounds(monkeypatch, pd.DataFrame(np.zeros((50, 1))))
    with pytest.raises(DataError, match="holds 60 frames, its confounds 50 rows"):
        fmriprep.cleaned(run(np.zeros((FRAMES, 1))), "a.nii.gz", "simple")
    confounds(monkeypatch, pd.DataFrame(np.zeros((FRAMES, 1))), np.array([], int))
    with pytest.raises(DataError, match="leaves no frame"):
        fmriprep.cleaned(run(np.zeros((FRAMES, 1))), "a.nii.gz", "scrubbing")
    with pytest.raises(DataError, match="no strategy 'magic'"):
        fmriprep.cleaned(run(np.zeros((FRAMES, 1))), "a.nii.gz", "magic")
    monkeypatch.undo()
    path = image(tmp_path / "sub-1_task-x_desc-preproc_bold.nii.gz")
    with pytest.raises(DataError, match="its confounds cannot be read for 'simple'"):
        fmriprep.cleaned(run(np.zeros((FRAMES, 1))), path, "simple")
