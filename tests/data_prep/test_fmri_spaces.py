"""fMRIPrep's folders: one recording a run, in one space, whatever else lies beside it."""

import json

import nibabel
import numpy as np
import pytest

from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep.atlases import make_atlas
from data_prep.cli import main
from data_prep.user import UserOptions, load_user_job, user_jobs
from data_prep.user_fmri import one_space

RUN = "sub-01_task-x"
VOLUME = RUN + "_space-{}_desc-preproc_bold.nii.gz"
PAIR = RUN + "_hemi-{}_space-fsaverage4_bold.func.gii"


def volume(path, seed=0):
    x = 500 + 5 * np.random.default_rng(seed).normal(size=(5, 6, 4, 40)).astype(np.float32)
    image = nibabel.Nifti1Image(x, np.diag([4.0, 4.0, 4.0, 1.0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    name = path.name.replace(".nii.gz", ".json")
    path.with_name(name).write_text(json.dumps({"RepetitionTime": 2.0}))
    return path


@pytest.fixture()
def folder(tmp_path):
    """One run in two volumes' spaces and on a surface, with its events."""
    out = tmp_path / "fmriprep" / "sub-01" / "func"
    for i, space in enumerate(("T1w", "MNI152NLin2009cAsym")):
        volume(out / VOLUME.format(space), i)
    rng = np.random.default_rng(2)
    for side in "LR":
        rows = rng.normal(size=(40, 2562)).astype(np.float32)
        arrays = [nibabel.gifti.GiftiDataArray(r, "NIFTI_INTENT_TIME_SERIES") for r in rows]
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), out / PAIR.format(side))
        (out / PAIR.format(side).replace(".func.gii", ".json")).write_text(
            json.dumps({"RepetitionTime": 2.0})
        )
    (out / f"{RUN}_events.tsv").write_text("onset\tduration\ttrial_type\n10\t4\tface\n")
    return tmp_path / "fmriprep"


def test_a_run_in_several_spaces_is_one_recording(folder, tmp_path):
    args = ["run", "--source", str(folder), "--data-root", str(tmp_path / "data"), "--jobs", "0"]
    assert main(args) == 0
    store = Store(tmp_path / "data" / "store")
    assert len(store) == 1 and "MNI152" in store.recordings["name"].iat[0]
    assert store.channels(0).frame == "mni"
    assert [e.label for e in store.events(0)] == ["face"]


def test_the_space_can_be_chosen_and_what_is_left_out_is_said(folder):
    (job,) = user_jobs(folder, UserOptions(space="fsaverage4"))
    recording = load_user_job(job, Recipe())
    assert recording.signal.shape == (40, 5124) and recording.start_s == 1.0
    assert [e.onset_s for e in recording.events] == [9.0]
    assert any("left out" in n and "space-T1w" in n for n in recording.notes)
    with pytest.raises(DataError, match="has no space 'fsLR'; it has MNI.*T1w, fsaverage4"):
        user_jobs(folder, UserOptions(space="fsLR"))


def test_an_atlas_in_mni_space_is_not_laid_over_another_space(folder, monkeypatch):
    labels = np.ones((5, 6, 4), int)
    atlas = make_atlas("toy", "mni_volume", {1: "a"}, labels, affine=np.diag([4e-3] * 3 + [1.0]))
    monkeypatch.setattr("data_prep.atlases.load_atlas", lambda name: atlas)
    (job,) = user_jobs(folder, UserOptions(space="T1w", atlas="toy"))
    with pytest.raises(DataError, match="space T1w, the atlas toy in MNI space"):
        load_user_job(job, Recipe())
    (job,) = user_jobs(folder, UserOptions(atlas="toy"))
    assert load_user_job(job, Recipe()).channels.name == ("a",)


def test_a_mask_is_not_for_vertices(folder):
    mask = folder.parent / "m.nii.gz"
    mask.write_text("")
    (job,) = user_jobs(folder, UserOptions(space="fsaverage4", mask=str(mask)))
    with pytest.raises(DataError, match="--mask is of voxels"):
        load_user_job(job, Recipe())


def test_runs_stay_apart_and_a_lone_half_is_found_to_be_refused(tmp_path):
    names = [f"sub-01_task-x_run-{i}_space-MNI_desc-preproc_bold.nii.gz" for i in (1, 2)]
    paths = [tmp_path / n for n in names]
    assert one_space(paths) == {p: [] for p in paths}
    lone = tmp_path / "sub-01_hemi-R_space-fsaverage5_bold.func.gii"
    nibabel.save(nibabel.gifti.GiftiImage(), lone)
    (job,) = user_jobs(tmp_path, UserOptions())
    with pytest.raises(DataError, match="hemi-L.* is missing"):
        load_user_job(job, Recipe())


def test_one_echo_is_read_and_phases_are_no_runs(tmp_path):
    name = "sub-01_task-x_{}bold.nii.gz"
    for part in ("echo-1_", "echo-2_", "echo-3_", "echo-2_part-phase_"):
        volume(tmp_path / name.format(part))
    (job,) = user_jobs(tmp_path, UserOptions())
    assert "echo-2_bold" in job.files[0] and len(job.options["left_out"]) == 2
    combined = volume(tmp_path / "sub-01_task-x_desc-optcom_bold.nii.gz")
    (job,) = user_jobs(tmp_path, UserOptions())
    assert job.files[0] == str(combined)
