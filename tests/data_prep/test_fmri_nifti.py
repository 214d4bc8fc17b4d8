"""Images become channels in metres, frames keep their times, and what cannot be true is refused."""

import json

import nibabel
import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.types import Event, Kind
from data_prep.atlases import make_atlas
from data_prep.readers.nifti import read_nifti

SHAPE = (8, 10, 6)
AFFINE = np.diag([-4.0, 4.0, 4.0, 1.0])
AFFINE[:3, 3] = (14, -18, -10)


def image(tmp_path, frames=20, affine=AFFINE, tr=2.0, unit="mm", name="bold.nii.gz", change=None):
    rng = np.random.default_rng(0)
    x = 500 + 5 * rng.normal(size=(*SHAPE, frames)).astype(np.float32)
    x[:2] = 0  # outside the brain
    if change is not None:
        change(x)
    made = nibabel.Nifti1Image(x if frames > 1 else x[..., 0], affine)
    if frames > 1:
        made.header.set_zooms((4, 4, 4, tr))
    made.header.set_xyzt_units(unit, "sec")
    nibabel.save(made, tmp_path / name)
    return tmp_path / name, x


def read(path, **more):
    return read_nifti(path, **{"dataset": "d", "subject": "01", "tr_s": 2.0, **more})


def test_voxels_are_where_the_affine_says_in_metres(tmp_path):
    path, x = image(tmp_path)
    r = read(path)
    assert len(r.channels) == 6 * 10 * 6 and (r.channels.kind == Kind.BOLD).all()
    where = np.argmin(np.linalg.norm(r.channels.pos_m - [0.014 - 0.020, -0.002, 0.002], axis=1))
    np.testing.assert_allclose(r.signal[:, where], x[5, 4, 3], rtol=1e-5)
    assert any("left and right swapped" in n for n in r.notes)
    assert r.channels.frame == "mni" and r.sfreq == 0.5


def test_a_flip_moves_voxels_and_no_signal(tmp_path):
    path, x = image(tmp_path)
    flipped = AFFINE.copy()
    flipped[0] = (4, 0, 0, 14 - 4 * (SHAPE[0] - 1))
    other = nibabel.Nifti1Image(x[::-1], flipped)
    other.header.set_zooms((4, 4, 4, 2.0))
    nibabel.save(other, tmp_path / "other.nii.gz")
    a, b = read(path), read(tmp_path / "other.nii.gz")
    order_a, order_b = (np.lexsort(r.channels.pos_m.round(4).T) for r in (a, b))
    np.testing.assert_allclose(a.channels.pos_m[order_a], b.channels.pos_m[order_b], atol=1e-5)
    np.testing.assert_allclose(a.signal[:, order_a], b.signal[:, order_b])


def test_dummies_are_dropped_and_their_time_is_kept(tmp_path):
    path, _ = image(tmp_path)
    (tmp_path / "bold.json").write_text(json.dumps({"RepetitionTime": 2.0, "StartTime": 1.0}))
    events = [Event(0, 2, "early"), Event(4, 4, "across"), Event(20, 2, "later")]
    r = read(path, drop=3, events=events, tr_s=None)
    assert len(r.signal) == 17 and r.start_s == 7.0
    # An onset counts from the first frame that was kept; what is mostly before it is gone.
    assert [(e.onset_s, e.label) for e in r.events] == [(13.0, "later")]


def test_parcels_are_means_at_their_places(tmp_path):
    path, x = image(tmp_path)
    labels = np.zeros(SHAPE, int)
    labels[2:5], labels[5:] = 7, 9
    atlas = make_atlas("toy", "mni_volume", {7: "one", 9: "two"}, labels, affine=_metres(AFFINE))
    r = read(path, atlas=atlas)
    assert r.channels.name == ("one", "two")
    np.testing.assert_allclose(r.signal[:, 0], x[2:5].mean((0, 1, 2)), rtol=1e-4)


def test_an_atlas_elsewhere_is_refused(tmp_path):
    path, _ = image(tmp_path)
    labels = np.arange(np.prod(SHAPE)).reshape(SHAPE) + 1
    away = _metres(AFFINE)
    away[1, 3] += 0.08
    names = {int(i): f"p{i}" for i in labels.ravel()}
    atlas = make_atlas("toy", "mni_volume", names, labels, affine=away)
    with pytest.raises(DataError, match="are in different spaces"):
        read(path, atlas=atlas)


def test_masks_choose_voxels_and_another_grid_is_refused(tmp_path):
    path, _ = image(tmp_path)
    mask = np.zeros(SHAPE, np.uint8)
    mask[3, 3, 3] = mask[4, 4, 4] = 1
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / "mask.nii.gz")
    assert len(read(path, mask=tmp_path / "mask.nii.gz").channels) == 2
    moved = AFFINE.copy()
    moved[0, 3] += 4
    nibabel.save(nibabel.Nifti1Image(mask, moved), tmp_path / "moved.nii.gz")
    with pytest.raises(DataError, match=r"is not that of the mask .*moved.nii.gz"):
        read(path, mask=tmp_path / "moved.nii.gz")


def test_voxels_that_are_not_finite_are_left_out_or_refused(tmp_path):
    def few(x):
        x[3, 3, 3, 5] = np.nan

    path, _ = image(tmp_path, change=few)
    r = read(path)
    assert len(r.channels) == 359 and "1 voxels that are not finite left out" in r.notes

    def many(x):
        x[3:6, ..., 2] = np.nan

    path, _ = image(tmp_path, change=many)
    with pytest.raises(DataError, match="180 of 360 voxels are not finite"):
        read(path)


@pytest.mark.parametrize("value", [0.0, np.nan, "again"])
def test_frames_that_hold_nothing_are_left_out_and_move_none(tmp_path, value):
    def lose(x):
        x[2:, ..., 9] = x[2:, ..., 8] if value == "again" else value

    path, x = image(tmp_path, change=lose)
    r = read(path)
    assert len(r.signal) == 20 and len(r.channels) == 360
    assert r.intervals_s == [(0.0, 18.0), (20.0, 40.0)]
    assert any("1 of 20 frames hold nothing" in n and "frame 9" in n for n in r.notes)
    order = np.argsort(r.channels.pos_m[:, 0])
    assert np.isfinite(r.signal[:, order]).all()

    def most(x):
        x[..., 8:] = 0

    path, _ = image(tmp_path, change=most)
    with pytest.raises(DataError, match="12 of 20 frames hold nothing.*export the run again"):
        read(path)


def test_images_without_their_mean_are_read_where_they_move(tmp_path):
    def centre(x):
        x[2:] -= 500

    path, _ = image(tmp_path, change=centre)
    assert len(read(path).channels) == 360

    def below(x):
        x -= 5000

    path, _ = image(tmp_path, change=below)
    assert len(read(path).channels) == 360


def test_what_is_not_one_number_a_voxel_is_refused(tmp_path):
    x = np.ones((4, 4, 4, 20), np.complex64)
    nibabel.save(nibabel.Nifti1Image(x, AFFINE), tmp_path / "complex.nii.gz")
    with pytest.raises(DataError, match="complex64 and not one number a voxel"):
        read(tmp_path / "complex.nii.gz")


def test_a_header_whose_two_affines_swap_sides_is_refused(tmp_path):
    path, x = image(tmp_path)
    made = nibabel.Nifti1Image(x, AFFINE)
    made.set_sform(AFFINE, 4)
    other = AFFINE.copy()
    other[0] *= -1
    made.set_qform(other, 1)
    nibabel.save(made, path)
    with pytest.raises(DataError, match="sform and qform of its header swap left and right"):
        read(path)
    made.set_qform(AFFINE, 1)
    nibabel.save(made, path)
    assert len(read(path).channels) == 360


def test_an_image_far_from_mni_space_is_refused_before_its_parcels_are_believed(tmp_path):
    everywhere = np.ones((50, 60, 50), int)
    at = np.diag([0.004, 0.004, 0.004, 1.0])
    at[:3, 3] = (-0.1, -0.13, -0.08)
    atlas = make_atlas("toy", "mni_volume", {1: "a"}, everywhere, affine=at)
    path, _ = image(tmp_path)
    assert len(read(path, atlas=atlas).channels) == 1
    moved = AFFINE.copy()
    moved[2, 3] += 80
    path, _ = image(tmp_path, affine=moved)
    with pytest.raises(DataError, match=r"24 % of its voxels lie in the brain of MNI152"):
        read(path, atlas=atlas)


def test_a_mask_that_cannot_be_read_is_named(tmp_path):
    path, _ = image(tmp_path)
    (tmp_path / "bad.nii.gz").write_text("no mask")
    with pytest.raises(DataError, match=r"its mask .*bad.nii.gz cannot be read"):
        read(path, mask=tmp_path / "bad.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), tmp_path / "none.nii.gz")
    with pytest.raises(DataError, match=r"none.nii.gz holds no voxel"):
        read(path, mask=tmp_path / "none.nii.gz")


def test_lost_frames_are_refused_with_both_numbers(tmp_path):
    path, _ = image(tmp_path)
    with pytest.raises(DataError, match="holds 20 frames, its table 22 rows; frames were lost"):
        read(path, n_frames=22)


def test_what_is_no_run_is_refused(tmp_path):
    path, _ = image(tmp_path, frames=1)
    with pytest.raises(DataError, match=r"has shape \(8, 10, 6\)"):
        read(path)
    path, _ = image(tmp_path, frames=5)
    with pytest.raises(DataError, match="at least 8 frames"):
        read(path)
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match="no readable NIfTI image"):
        read(broken)
    cut = tmp_path / "cut.nii"
    whole, _ = image(tmp_path, name="whole.nii")
    cut.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(DataError, match="cannot be read|no readable"):
        read(cut)


def test_a_head_of_many_metres_is_refused(tmp_path):
    path, _ = image(tmp_path, unit="meter")
    with pytest.raises(DataError, match="its voxels span 36 m in meter; a head has .2 m"):
        read(path)


def _metres(affine):
    out = affine.copy()
    out[:3] /= 1000
    return out
