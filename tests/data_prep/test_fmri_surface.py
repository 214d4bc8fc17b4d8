"""fMRI on surfaces: what nibabel wrote is read back vertex by vertex; the rest is refused."""

import json

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, ParcelsAxis, SeriesAxis

from brainfm.errors import DataError
from brainfm.types import Event, Kind
from data_prep.atlases import make_atlas
from data_prep.readers import surface
from data_prep.readers.surface import read_surface
from data_prep.readers.surface_files import is_surface, partner

T, HALF = 12, 2562
RNG = np.random.default_rng(0)
X_TV = (100 + RNG.normal(size=(T, 2 * HALF))).astype(np.float32)
SAID = {"dataset": "d", "subject": "01"}


def gifti(path, x_TV, step_ms=2000.0):
    arrays = [
        nibabel.gifti.GiftiDataArray(
            row, "NIFTI_INTENT_TIME_SERIES", meta={"TimeStep": str(step_ms)}
        )
        for row in x_TV.astype(np.float32)
    ]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)
    return path


def pair(folder, x_TV=X_TV, step_ms=2000.0, stem="sub-01_hemi-{}_space-fsaverage4_bold.func.gii"):
    half = x_TV.shape[1] // 2
    gifti(folder / stem.format("R"), x_TV[:, half:], step_ms)
    return gifti(folder / stem.format("L"), x_TV[:, :half], step_ms)


def cifti(path, x, columns, step=0.8, unit="SECOND"):
    rows = SeriesAxis(0, step, len(x), unit)
    nibabel.save(nibabel.Cifti2Image(x.astype(np.float32), (rows, columns)), path)
    return path


def grey(n_left=HALF - 100, voxels=5):
    """Both cortices of fsaverage4 with part of the left one missing, and a few voxels below."""
    left = BrainModelAxis.from_surface(np.arange(n_left), HALF, "CORTEX_LEFT")
    right = BrainModelAxis.from_surface(np.arange(HALF), HALF, "CORTEX_RIGHT")
    mask = np.zeros((10, 10, 10), bool)
    mask[2, 3, :voxels] = True
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -10
    return left + right + BrainModelAxis.from_mask(mask, "THALAMUS_LEFT", affine)


@pytest.fixture()
def mesh(monkeypatch):
    """A known mesh of fsaverage4's size: places on a sphere, and the atlas that brings them."""
    place = np.random.default_rng(1).normal(size=(2 * HALF, 3))
    place = 0.09 * place / np.linalg.norm(place, axis=1, keepdims=True)
    place[:, 0] = np.repeat([-1, 1], HALF) * np.abs(place[:, 0])
    labels = np.repeat([1, 2], HALF)
    atlas = make_atlas("halves", "fsaverage4", {1: "left", 2: "right"}, labels, vertex_m=place)
    monkeypatch.setitem(surface.MESHES, "fsaverage4", "halves")
    monkeypatch.setattr("data_prep.atlases.load_atlas", lambda name: atlas)
    return atlas


def test_names_say_what_is_a_surface_and_where_the_other_half_is(tmp_path):
    assert is_surface("a_bold.dtseries.nii") and is_surface("lh.run.mgz")
    assert not is_surface("a_bold.nii.gz")
    assert partner(tmp_path / "s_hemi-L_bold.func.gii").name == "s_hemi-R_bold.func.gii"
    assert partner(tmp_path / "rh.bold.mgz").name == "lh.bold.mgz"
    assert partner(tmp_path / "s.dtseries.nii") is None
    with pytest.raises(DataError, match="does not say its hemisphere"):
        partner(tmp_path / "bold.func.gii")


@pytest.mark.parametrize("first", ["L", "R"])
def test_a_pair_of_gifti_files_is_one_run_left_first(tmp_path, first, mesh):
    path = pair(tmp_path)
    path = path.with_name(path.name.replace("hemi-L", f"hemi-{first}"))
    path.with_name(path.name.replace(".func.gii", ".json")).write_text('{"RepetitionTime": 2.0}')
    r = read_surface(path, **SAID)
    np.testing.assert_array_equal(r.signal, X_TV)
    assert r.sfreq == 0.5 and (r.channels.kind == Kind.BOLD).all()
    np.testing.assert_allclose(r.channels.pos_m, mesh.vertex_m, atol=1e-6)
    assert r.channels.frame == "mni" and r.channels.name[HALF] == f"fsaverage4.{HALF}"


def test_the_tr_of_headers_is_the_last_to_be_asked(tmp_path, caplog):
    path = pair(tmp_path, step_ms=720.0)
    r = read_surface(path, **SAID)
    assert r.sfreq == pytest.approx(1 / 0.72) and "taken from the header" in caplog.text
    with pytest.raises(DataError, match="nobody says its TR"):
        read_surface(pair(tmp_path, step_ms=1000.0), **SAID)
    assert read_surface(pair(tmp_path), tr_s=1.5, **SAID).sfreq == pytest.approx(1 / 1.5)


def test_freesurfer_pairs_and_dummies(tmp_path):
    for side, x in (("lh", X_TV[:, :HALF]), ("rh", X_TV[:, HALF:])):
        image = nibabel.MGHImage(x.T[:, None, None].copy(), np.eye(4))
        nibabel.save(image, tmp_path / f"{side}.run_bold.mgz")
    events = [Event(1.0, 1.0, "early"), Event(6.0, 2.0, "kept")]
    r = read_surface(tmp_path / "lh.run_bold.mgz", tr_s=2.0, drop=2, events=events, **SAID)
    np.testing.assert_array_equal(r.signal, X_TV[2:])
    assert r.start_s == 4.0 and [(e.onset_s, e.label) for e in r.events] == [(2.0, "kept")]
    assert r.channels.frame == "unknown" and np.isnan(r.channels.pos_m).all()


def test_grey_matter_comes_with_its_voxels_and_without_its_wall(tmp_path, mesh):
    columns = grey()
    x = 100 + RNG.normal(size=(T, len(columns)))
    r = read_surface(cifti(tmp_path / "a_bold.dtseries.nii", x, columns), **SAID)
    assert r.signal.shape == (T, 2 * HALF - 100 + 5) and r.sfreq == pytest.approx(1.25)
    np.testing.assert_allclose(r.signal, x, rtol=1e-6)
    assert r.channels.name[HALF - 100] == f"fsaverage4.{HALF}"
    np.testing.assert_allclose(r.channels.pos_m[-5], [-0.006, -0.004, -0.010], atol=1e-6)
    assert any("100 vertices without a value" in n for n in r.notes)


def test_parcels_are_means_over_vertices_of_the_same_mesh(tmp_path, mesh):
    columns = grey()
    x = 100 + RNG.normal(size=(T, len(columns)))
    path = cifti(tmp_path / "a_bold.dtseries.nii", x, columns)
    r = read_surface(path, atlas=mesh, **SAID)
    assert r.channels.name == ("left", "right")
    np.testing.assert_allclose(r.signal[:, 0], x[:, : HALF - 100].mean(1), rtol=1e-5)
    assert any("5 voxels below the cortex left out" in n for n in r.notes)


def test_an_atlas_of_another_mesh_is_brought_by_place_or_refused(tmp_path, mesh):
    labels = np.repeat([1, 2], 50)
    place = mesh.vertex_m[:: 2 * HALF // 100][:100]
    other = make_atlas("other", "elsewhere", {1: "a", 2: "b"}, labels, vertex_m=place)
    r = read_surface(pair(tmp_path), atlas=other, **SAID)
    assert set(r.channels.name) == {"a", "b"} and any("by nearness" in n for n in r.notes)
    surface.MESHES.pop("fsaverage4")
    with pytest.raises(DataError, match="places of fsaverage4 are not known here"):
        read_surface(pair(tmp_path), atlas=other, **SAID)


def test_parcels_of_a_file_are_placed_by_the_atlas_that_names_them(tmp_path, mesh):
    halves = [
        (name, BrainModelAxis.from_surface(np.arange(HALF), HALF, f"CORTEX_{name.upper()}"))
        for name in ("right", "left")
    ]
    x = RNG.normal(size=(T, 2))
    path = cifti(tmp_path / "a.ptseries.nii", x, ParcelsAxis.from_brain_models(halves))
    r = read_surface(path, atlas=mesh, **SAID)
    np.testing.assert_allclose(r.channels.pos_m, mesh.pos_m[::-1], atol=1e-6)
    np.testing.assert_allclose(r.signal, x, rtol=1e-5)
    assert np.isnan(read_surface(path, **SAID).channels.pos_m).all()
    named = make_atlas("n", "fsaverage4", {1: "left", 2: "x"}, mesh.labels, vertex_m=mesh.vertex_m)
    with pytest.raises(DataError, match="parcel 'right' and 0 more are not in the atlas n"):
        read_surface(path, atlas=named, **SAID)


def broken(x):
    x = x.copy()
    x[:, :2000] = np.nan
    return x


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda f: gifti(f / "s_hemi-L_bold.func.gii", X_TV[:, :HALF]), "s_hemi-R.* is missing"),
        (
            lambda f: pair(f, X_TV[:, :5000]),
            "has 2500 vertices; meshes known are fsaverage5 .10242",
        ),
        (lambda f: pair(f, X_TV[:5]), "holds 5 frames"),
        (lambda f: pair(f, broken(X_TV)), "2000 of 5124 vertices have no finite value"),
        (
            lambda f: cifti(f / "a.dtseries.nii", X_TV[:, :1000], _one_side()),
            "has 1 hemispheres",
        ),
        (
            lambda f: cifti(f / "a.dtseries.nii", X_TV[:, :5029], grey(), unit="HERTZ"),
            "series counts in hertz",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, make, says):
    path = make(tmp_path)
    with pytest.raises(DataError, match=says):
        read_surface(path, tr_s=0.8, **SAID)


def _one_side():
    return BrainModelAxis.from_surface(np.arange(1000), HALF, "CORTEX_LEFT")


def test_halves_of_two_runs_and_damaged_files_are_refused(tmp_path):
    path = pair(tmp_path)
    gifti(tmp_path / path.name.replace("hemi-L", "hemi-R"), X_TV[:6, :HALF])
    with pytest.raises(DataError, match="hemispheres have"):
        read_surface(path, **SAID)
    with pytest.raises(DataError, match="its TimeStep is 'two', no number"):
        read_surface(pair(tmp_path, step_ms="two"), **SAID)
    path.write_bytes(b"<?xml broken")
    with pytest.raises(DataError, match="cannot be read"):
        read_surface(path, **SAID)


def test_too_many_vertices_want_an_atlas(tmp_path, monkeypatch):
    monkeypatch.setattr(surface, "MOST_CHANNELS", 5000)
    with pytest.raises(DataError, match="too many channels .* name an atlas"):
        read_surface(pair(tmp_path), **SAID)


def test_a_sidecar_of_a_series_may_have_either_name(tmp_path, mesh):
    columns = grey()
    path = cifti(
        tmp_path / "a_bold.dtseries.nii", np.ones((T, len(columns))) + columns.size, columns
    )
    x = 100 + RNG.normal(size=(T, len(columns)))
    for name in ("a_bold.json", "a_bold.dtseries.json"):
        path = cifti(path, x, columns)
        (tmp_path / name).write_text(json.dumps({"RepetitionTime": 1.6}))
        assert read_surface(path, **SAID).sfreq == pytest.approx(1 / 1.6)
        (tmp_path / name).unlink()
