"""Layouts of large releases: read as published, split as published, refused where absent."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.io
from fmri_helpers import forbid_downloads, make_atlas_wheels, nifti, prepared_store

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep.datasets import get_dataset
from data_prep.nsd_files import read_design
from data_prep.trial_responses import response_recording, voxel_channels

PLAIN = Recipe(bold_highpass_hz=None)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    forbid_downloads(monkeypatch)


@pytest.mark.parametrize("name", ["nsd", "nsd_betas", "bold5000", "algonauts2023"])
def test_what_is_not_there_is_said_in_one_sentence(name, tmp_path):
    with pytest.raises(DataError, match="brainfm does not download it.*put.* under ") as refusal:
        get_dataset(name).fetch(tmp_path, str)
    assert str(tmp_path) in str(refusal.value) and "\n" not in str(refusal.value)


SHAPE = (6, 5, 4)


@pytest.fixture
def nsd(tmp_path, monkeypatch):
    """Two people; one run with images, one at rest, one session of responses."""
    import h5py

    rng = np.random.default_rng(0)
    home = tmp_path / "nsd"
    mask = np.zeros(SHAPE, np.int16)
    mask[1:5, 1:4, 1:3], mask[0] = 1, -1
    places = np.stack(np.indices(SHAPE), -1) * 10.0 + [60, 100, 60]
    places[0] = 9999
    images = rng.integers(1, 70_000, 750)
    responses = rng.integers(-900, 900, (750, *SHAPE)).astype(np.int16)
    frames = {}
    for person in ("subj01", "subj08"):
        own = home / "nsddata/ppdata" / person
        for folder in ("behav", "func1pt8mm/roi", "transforms"):
            (own / folder).mkdir(parents=True)
        (own / "func1pt8mm/roi/nsdgeneral.nii.gz").write_bytes(nifti(mask))
        (own / "transforms/MNI-to-func1pt8.nii.gz").write_bytes(nifti(places))
        rows = [f"1\t{s}\t1\t{t}\t{i}" for s in (1, 2) for t, i in enumerate(images)]
        text = "\n".join(["SUBJECT\tSESSION\tRUN\tTRIAL\t73KID", *rows])
        (own / "behav/responses.tsv").write_text(text)
        runs = home / "nsddata_timeseries/ppdata" / person / "func1pt8mm"
        (runs / "timeseries").mkdir(parents=True)
        (runs / "design").mkdir()
        for run in ("01", "14"):
            path = runs / f"timeseries/timeseries_session01_run{run}.nii.gz"
            frames[person, run] = rng.normal(1000, 10, (*SHAPE, 20)).astype(np.float32)
            path.write_bytes(nifti(frames[person, run]))
        design = [0, 14, 0, 0, 14, 0, 0, 99, *[0] * 12]
        text = "\n".join(map(str, design))
        (runs / "design/design_session01_run01.tsv").write_text(text)
        betas = home / "nsddata_betas/ppdata" / person / "func1pt8mm/betas_fithrf_GLMdenoise_RR"
        betas.mkdir(parents=True)
        with h5py.File(betas / "betas_session01.hdf5", "w") as f:
            f["betas"] = responses.transpose(0, 3, 2, 1)
    (home / "nsddata/experiments/nsd").mkdir(parents=True)
    shared = np.unique(images[::10])
    path = home / "nsddata/experiments/nsd/nsd_expdesign.mat"
    scipy.io.savemat(path, {"sharedix": shared[None]})
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:3, 1:4, 1:3], labels[3:5, 1:4, 1:3] = 1, 2
    affine = np.diag([10.0, 10, 10, 1])
    affine[:3, 3] = np.array([60, 100, 60]) - [90, 126, 72]
    contents = [nifti(labels, affine), "1 First_L\n2 Second_R\n"]
    make_atlas_wheels(monkeypatch, tmp_path, "hcpex", contents)
    return {
        "home": home,
        "mask": mask > 0,
        "images": images,
        "responses": responses,
        "shared": shared,
        "frames": frames,
        "labels": labels,
        "places": places,
    }


def test_nsd_runs_become_parcels_with_images_as_events(nsd, tmp_path):
    get_dataset("nsd").fetch(tmp_path, str)
    store = prepared_store("nsd", tmp_path, PLAIN)
    table = store.recordings
    assert dict(zip(table["subject"], table["split"], strict=True)) == {
        "subj01": "train",
        "subj08": "test",
    }
    row = int(np.flatnonzero(table["name"] == "subj01_session01_run01")[0])
    assert store.sfreq(row) == pytest.approx(0.75) and store.start_s(row) == 0
    assert [(round(e.onset_s, 3), e.duration_s, e.label) for e in store.events(row)] == [
        (1.333, 3.0, "image:nsd00013"),
        (5.333, 3.0, "image:nsd00013"),
        (9.333, 3.0, "image:nsd00098"),
    ]
    mean = nsd["frames"]["subj01", "01"][nsd["labels"] == 1].mean(0)
    np.testing.assert_allclose(store.read((row, 0, 20))[:, 0], mean - mean.mean(), atol=0.01)
    rest = int(np.flatnonzero(table["name"] == "subj01_session01_run14")[0])
    assert not store.events(rest)


def test_nsd_runs_of_another_preparation_are_refused(nsd, tmp_path):
    import nibabel as nib

    dataset = get_dataset("nsd")
    dataset.fetch(tmp_path, str)
    job = dataset.jobs(tmp_path)[0]
    image = nib.Nifti1Image(nsd["frames"]["subj01", "01"], np.eye(4))
    image.header.set_zooms((1.8, 1.8, 1.8, 1.6))
    nib.save(image, job.files[0])
    with pytest.raises(DataError, match=r"header says 1\.6 s a frame.*has 1\.333 s"):
        dataset.load(job, PLAIN)
    with pytest.raises(DataError, match="expected one a frame, 0 to 73000"):
        read_design(next(nsd["home"].rglob("design_*.tsv")), 21, 4 / 3)
    field = next(p for p in job.files if "MNI-to" in p)
    for shift, says in ((90, "no voxel lies in a parcel"), (200, "not millimetres from MNI's")):
        with open(field, "wb") as f:
            f.write(nifti(nsd["places"] - shift))
        with pytest.raises(DataError, match=says):
            dataset.load(job, PLAIN)


def test_nsd_responses_split_by_shared_images(nsd, tmp_path):
    dataset = get_dataset("nsd_betas")
    jobs = {j.name: j for j in dataset.jobs(tmp_path)}
    assert len(jobs) == 4
    parts = {s: dataset.load(jobs[f"subj01_session01_{s}"], PLAIN) for s in ("train", "test")}
    is_shared = np.isin(nsd["images"], nsd["shared"])
    assert len(parts["test"].signal) == is_shared.sum() and 75 <= is_shared.sum() < 100
    assert len(parts["train"].signal) == (~is_shared).sum()
    labels = {s: {e.label for e in r.events} for s, r in parts.items()}
    assert not labels["train"] & labels["test"]
    r = parts["test"]
    first = int(np.flatnonzero(is_shared)[0])
    np.testing.assert_allclose(r.signal[0], nsd["responses"][first][nsd["mask"]] / 300, rtol=1e-5)
    assert r.events[0].label == f"image:nsd{nsd['images'][first] - 1:05d}"
    assert r.channels.name[0] == "v001_001_001" and r.channels.frame == "mni"
    np.testing.assert_allclose(r.channels.pos_m[0], [-0.02, -0.016, -0.002], atol=1e-6)
    assert parts["train"].split_group != r.split_group


def test_nsd_responses_read_the_same_from_nifti(nsd, tmp_path):
    dataset = get_dataset("nsd_betas")
    before = dataset.load(dataset.jobs(tmp_path)[0], PLAIN)
    for path in nsd["home"].rglob("betas_session01.hdf5"):
        path.unlink()
        content = nifti(nsd["responses"].transpose(1, 2, 3, 0))
        path.with_name("betas_session01.nii.gz").write_bytes(content)
    after = dataset.load(dataset.jobs(tmp_path)[0], PLAIN)
    np.testing.assert_array_equal(before.signal, after.signal)


@pytest.fixture
def bold5000(tmp_path):
    rng = np.random.default_rng(0)
    home = tmp_path / "bold5000"
    (home / "py").mkdir(parents=True)
    images = [f"rep_{k}.jpg" if k < 3 else f"COCO_train2014_{k:012d}.jpg" for k in range(10)]
    (home / "CSI1_imgnames.txt").write_text("\n".join(images))
    (home / "repeated_stimuli_113_list.txt").write_text("0.jpg\n1.jpg\n2.jpg\n000000000009.jpg")
    kind = "GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses"
    parts = {r: rng.standard_normal((10, n)) for r, n in (("LHEarlyVis", 4), ("RHPPA", 3))}
    parts["RHPPA"][2, 1] = np.nan
    for region, x in parts.items():
        np.save(home / "py" / f"CSI1_{kind}_{region}.npy", x)
    return parts


def test_bold5000_tests_on_repeated_images(bold5000, tmp_path):
    store = prepared_store("bold5000", tmp_path, PLAIN)
    table = store.recordings.set_index("split")
    assert table.loc["test", "n_samples"] == 4 and table.loc["train", "n_samples"] == 6
    dataset = get_dataset("bold5000")
    train, test = (dataset.load(j, PLAIN) for j in dataset.jobs(tmp_path))
    assert [e.label for e in test.events] == [
        *("image:0.jpg", "image:1.jpg", "image:2.jpg"),
        "image:000000000009.jpg",
    ]
    np.testing.assert_allclose(test.signal[:, :4], bold5000["LHEarlyVis"][[0, 1, 2, 9]], rtol=1e-6)
    # One voxel is not finite in the test trials only.
    assert len(test.channels) == 6 and len(train.channels) == 7
    assert any("1 voxels that are not finite" in n for n in test.notes)
    assert np.isnan(test.channels.pos_m).all() and test.channels.frame == "unknown"
    assert any(n.startswith("regions that are not there: RHEarlyVis") for n in test.notes)


def test_bold5000_lists_that_do_not_fit_are_refused(bold5000, tmp_path):
    dataset = get_dataset("bold5000")
    job = dataset.jobs(tmp_path)[0]
    (tmp_path / "bold5000/repeated_stimuli_113_list.txt").write_text("z.jpg")
    with pytest.raises(DataError, match="0 of 10 trials show one of the images"):
        dataset.load(job, PLAIN)
    (tmp_path / "bold5000/CSI1_imgnames.txt").write_text("a.jpg\nb.jpg")
    with pytest.raises(DataError, match=r"has shape \(10, 4\), CSI1_imgnames.txt lists 2 trials"):
        dataset.load(job, PLAIN)


@pytest.fixture
def algonauts(tmp_path):
    rng = np.random.default_rng(0)
    person = tmp_path / "algonauts2023/subj03"
    rows = {}
    for split, word in (("training_split", "training"), ("test_split", "test")):
        (person / split / f"{word}_fmri").mkdir(parents=True)
        (person / split / f"{word}_images").mkdir()
        count = 5 if word == "training" else 3
        rows[word] = [rng.standard_normal((count, n)).astype(np.float32) for n in (4, 2)]
        for h, x in zip(("lh", "rh"), rows[word], strict=True):
            np.save(person / split / f"{word}_fmri/{h}_{word}_fmri.npy", x)
        for k in range(count):
            name = f"{word[: 5 if word == 'training' else 4]}-{k + 1:04d}_nsd-{7 * k + 13:05d}.png"
            (person / split / f"{word}_images/{name}").touch()
    (person / "roi_masks").mkdir()
    for h, index in (("lh", [3, 9, 11, 20]), ("rh", [5, 163_841])):
        marks = np.zeros(163_842, np.int64)
        marks[index] = 1
        np.save(person / f"roi_masks/{h}.all-vertices_fsaverage_space.npy", marks)
    return person, rows


def test_algonauts_takes_rows_in_the_order_of_their_images(algonauts, tmp_path):
    person, rows = algonauts
    first = person / "training_split/training_images/train-0001_nsd-00013.png"
    assert not first.rename(first.with_name("train-0001_nsd-00014.png")).samefile(person)
    dataset = get_dataset("algonauts2023")
    train, test = (dataset.load(j, PLAIN) for j in dataset.jobs(tmp_path))
    assert (train.split, test.split) == ("train", "test") and train.subject == "subj03"
    np.testing.assert_array_equal(train.signal, np.concatenate(rows["training"], 1))
    assert [e.label for e in train.events[:2]] == ["image:nsd00014", "image:nsd00020"]
    assert train.channels.name == tuple(f"L{v:06d}" for v in (3, 9, 11, 20)) + (
        "R000005",
        "R163841",
    )
    assert train.channels.frame == "unknown" and any("places unknown" in n for n in train.notes)
    assert len(prepared_store("algonauts2023", tmp_path, PLAIN)) == 2


def test_algonauts_has_places_where_fsaverage_lies_beside_it(algonauts, tmp_path):
    from nibabel.freesurfer import write_geometry

    points = np.random.default_rng(0).uniform(-60, 60, (163_842, 3))
    folder = tmp_path / "algonauts2023/fsaverage/surf"
    folder.mkdir(parents=True)
    for h in ("lh", "rh"):
        write_geometry(folder / f"{h}.pial", points, np.zeros((1, 3), int))
    dataset = get_dataset("algonauts2023")
    r = dataset.load(dataset.jobs(tmp_path)[0], PLAIN)
    assert r.channels.frame == "mni"
    assert np.abs(r.channels.pos_m[0] - points[3] * 1e-3).max() < 0.006


def test_algonauts_files_that_do_not_fit_are_refused(algonauts, tmp_path):
    person, _ = algonauts
    dataset = get_dataset("algonauts2023")
    job = dataset.jobs(tmp_path)[0]
    (person / "training_split/training_images/train-0004_nsd-00034.png").unlink()
    with pytest.raises(DataError, match="has 4 images .* for 5 responses, not number 4"):
        dataset.load(job, PLAIN)
    np.save(person / "roi_masks/lh.all-vertices_fsaverage_space.npy", np.ones(163_842))
    with pytest.raises(DataError, match="marks 163842 of 163842 vertices, the responses have 4"):
        dataset.load(job, PLAIN)
    evil = np.array([{}], object)
    np.save(job.files[0], evil, allow_pickle=True)
    with pytest.raises(DataError, match=r"lh_training_fmri\.npy: no array of numbers"):
        dataset.load(job, PLAIN)


def test_responses_are_one_frame_each_and_cannot_be_resampled(tmp_path):
    x = np.random.default_rng(0).standard_normal((4, 3))
    given = {"source": tmp_path / "a", "dataset": "made", "subject": "1", "name": "n"}
    channels = voxel_channels(["a", "b", "c"], None)
    r = response_recording(x, list("wxyz"), channels, 4.0, PLAIN, **given)
    assert r.intervals_s == [(0, 4), (4, 8), (8, 12), (12, 16)] and r.is_bold
    with pytest.raises(DataError, match="only their order is time"):
        response_recording(x, list("wxyz"), channels, 4.0, replace(PLAIN, bold_sfreq=1.0), **given)
    with pytest.raises(DataError, match="4 responses but 2 images"):
        response_recording(x, list("wx"), channels, 4.0, PLAIN, **given)
