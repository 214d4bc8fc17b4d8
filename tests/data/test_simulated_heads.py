"""Simulated heads: a cortex and sensors of their own, in frames that a transform joins."""

from dataclasses import replace

import numpy as np
import pytest

from brainfm.data.anatomy import (
    CAPS,
    CONTACT_M,
    DEEPEST,
    GRID_M,
    KINDS,
    RADIUS_M,
    Head,
    HeadConfig,
    rotation,
    template_head_from_mni,
)
from brainfm.data.cortex import fsaverage_cortex, moved, turned
from brainfm.errors import DataError
from brainfm.types import Kind
from brainfm.types.space import MNI152_OF_MNI305

pytest.importorskip("nilearn")
PLAIN = HeadConfig(cap="biosemi64", helmet="vectorview")


@pytest.fixture(scope="module")
def heads():
    return [Head(k) for k in range(6)]


def from_centre(head, pos_m):
    return np.linalg.norm(pos_m - head.shells.centre_m, axis=1)


def in_head(head, kind):
    """Places of contacts or parcels in the head frame."""
    channels = head.channels(kind)
    assert channels.frame == "mni"
    return moved(channels.pos_m.astype(float), head.head_from_mni)


def test_the_cortex_covers_both_hemispheres_in_mni_metres():
    cortex = fsaverage_cortex()
    left = np.array([name.startswith("L") for name in cortex.parcel_name])
    assert (cortex.parcel_m[left, 0] < 0).all() and (cortex.parcel_m[~left, 0] > 0).all()
    assert abs(left.sum() - (~left).sum()) <= 4
    # The brain of MNI152 is about 14 cm wide, 18 long and 12 or more high.
    assert np.allclose(np.ptp(cortex.pos_m, axis=0), (0.135, 0.172, 0.122), atol=0.01)
    assert np.allclose(np.linalg.norm(cortex.normal, axis=1), 1)


def test_every_parcel_is_a_patch_of_neighbouring_sources():
    cortex = fsaverage_cortex()
    size = np.bincount(cortex.parcel)
    assert len(size) == len(cortex.parcel_name) == 82 and size.min() >= 4
    away = np.linalg.norm(cortex.pos_m - cortex.parcel_m[cortex.parcel], axis=1)
    assert np.median(away) < 0.02 and away.max() < 0.06


def test_finer_parcels_and_sources_can_be_asked_for_but_not_parcels_finer_than_sources():
    fine = fsaverage_cortex(4, 2)
    assert len(fine.pos_m) > 4500 and len(fine.parcel_name) == 313
    with pytest.raises(DataError, match="fewer than sources"):
        fsaverage_cortex(2, 2)


def test_mni305_goes_to_mni152_as_freesurfer_says():
    point = moved(np.array([[0.010, -0.020, 0.035]]), MNI152_OF_MNI305)
    assert np.allclose(point, [[0.010695, -0.018409, 0.036137]], atol=5e-6)


def test_normals_stay_upright_on_a_stretched_surface():
    trans = np.diag([1.0, 2.0, 1.0, 1.0])
    trans[0, 1] = 0.3
    along, normal = np.array([[1.0, -1.0, 0.0]]), np.array([[1.0, 1.0, 0.0]])
    stretched = moved(along, trans) - trans[:3, 3]
    assert abs((turned(normal, trans) * stretched).sum()) < 1e-12
    assert np.linalg.norm(turned(normal, trans)) == pytest.approx(1)


def test_a_turn_of_some_degrees_is_a_turn():
    turn = rotation(np.random.default_rng(0), 5.0)
    assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)
    assert 0 < np.degrees(np.arccos((np.trace(turn) - 1) / 2)) < 25
    assert np.allclose(rotation(np.random.default_rng(0), 0.0), np.eye(3))


def test_the_same_seed_is_the_same_head_and_another_is_not(heads):
    again, other = Head(1), heads[2]
    for kind in KINDS:
        assert again.channels(kind).layout() == heads[1].channels(kind).layout()
        assert np.array_equal(again.gain(kind), heads[1].gain(kind))
        if kind != "BOLD":
            assert other.channels(kind).layout() != again.channels(kind).layout()
    assert other.shells.radius_m != again.shells.radius_m
    assert not np.allclose(other.head_from_mni, again.head_from_mni, atol=1e-3)
    assert not np.allclose(other.share_S, again.share_S, rtol=0.05)


def test_one_head_can_wear_two_caps():
    one, two = (Head(4, HeadConfig(cap=cap)) for cap in ("ten-twenty", "biosemi64"))
    assert np.array_equal(one.source_m, two.source_m) and np.array_equal(one.share_S, two.share_S)
    assert (len(one.channels("EEG")), len(two.channels("EEG"))) == (19, 64)
    assert one.channels("SEEG").layout() == two.channels("SEEG").layout()


def test_without_variation_all_heads_are_the_template():
    still = replace(PLAIN, variation=0.0, cap_turn_deg=0.0)
    one, two = Head(1, still), Head(2, still)
    assert np.allclose(one.gain("EEG"), two.gain("EEG"))
    assert np.allclose(one.head_from_mni, template_head_from_mni())
    assert one.shells.radius_m == RADIUS_M and one.hrf_stretch == 1


def test_heads_differ_by_what_the_configuration_says(heads):
    radius = [Head(k).shells.radius_m / RADIUS_M for k in range(40)]
    assert 0.02 < np.std(radius) < 0.06 and abs(np.mean(radius) - 1) < 0.02
    a, b = (Head(k, PLAIN).gain("EEG") for k in (0, 1))
    alike = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]
    # Alike enough for one model, and different enough to need one.
    assert 0.5 < np.median(alike) < 0.97


def test_sources_lie_in_the_brain_and_few_had_to_be_moved(heads):
    for head in heads:
        depth = from_centre(head, head.source_m) / head.shells.brain_m
        assert depth.max() <= DEEPEST + 1e-9 and (depth > DEEPEST - 1e-9).mean() < 0.08
        assert np.allclose(np.bincount(head.cortex.parcel, head.share_S), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_say_kind_place_unit_and_frame(heads, kind):
    for head in heads[:3]:
        channels = head.channels(kind)
        assert np.isfinite(channels.pos_m).all()
        assert channels.frame == ("head" if kind in ("EEG", "MEG") else "mni")
        kinds = {Kind.MAG, Kind.GRAD} if kind == "MEG" else {Kind[kind]}
        assert set(channels.kind) <= kinds
        assert np.abs(channels.ori).sum() > 0 if kind == "MEG" else not channels.ori.any()
        assert head.gain(kind).shape == (len(channels), len(head.cortex.parcel_name))
    assert channels.reference == ("average" if kind == "EEG" else "none")


def test_montages_differ_between_heads():
    drawn = [Head(k) for k in range(12)]
    assert len({len(h.channels("EEG")) for h in drawn}) >= 4
    assert {len(h.channels("MEG")) for h in drawn} == {151, 306}
    assert len({len(h.channels("SEEG")) for h in drawn}) > 8


@pytest.mark.parametrize("cap", CAPS)
def test_every_cap_lies_on_the_scalp_with_its_front_in_front(cap):
    head = Head(3, HeadConfig(cap=cap, electrode_m=0.0))
    channels = head.channels("EEG")
    assert np.allclose(from_centre(head, channels.pos_m), head.shells.radius_m, atol=1e-5)
    if "Fz" in channels.name:
        place = dict(zip(channels.name, channels.pos_m, strict=True))
        assert place["Fz"][1] > place["Cz"][1] > place["Pz"][1]
        assert place["C3"][0] < 0 < place["C4"][0]


def test_measured_electrodes_are_some_millimetres_off():
    exact, measured = (
        Head(3, replace(PLAIN, electrode_m=m)).channels("EEG").pos_m for m in (0.0, 0.002)
    )
    off = np.linalg.norm(exact - measured, axis=1)
    assert 0.001 < np.median(off) < 0.006


def test_contacts_are_in_the_brain_on_straight_shafts(heads):
    for head in heads:
        at, names = in_head(head, "SEEG"), head.channels("SEEG").name
        assert from_centre(head, at).max() < head.shells.brain_m + 1e-6
        shafts = {name[0] for name in names}
        assert 5 <= len(shafts) <= 9
        for shaft in shafts:
            line = at[[name[0] == shaft for name in names]]
            assert np.allclose(np.linalg.norm(np.diff(line, axis=0), axis=1), CONTACT_M, atol=1e-6)
            assert np.linalg.matrix_rank(line - line[0], tol=1e-5) <= 1


def test_a_grid_lies_on_one_side_above_the_cortex(heads):
    for head in heads:
        at = in_head(head, "ECOG")
        assert len(at) == 48 and len(set(np.sign(at[:, 0]))) == 1
        near = np.linalg.norm(at[:, None] - head.source_m[None], axis=-1).min(1)
        assert np.median(near) < 0.015
        step = np.linalg.norm(at[1:8] - at[:7], axis=1)
        assert np.median(step) == pytest.approx(GRID_M, rel=0.3)


def test_contacts_see_the_parcels_they_touch_and_hardly_others(heads):
    head = heads[0]
    gain = np.abs(head.gain("SEEG"))
    at = in_head(head, "SEEG")
    apart = np.linalg.norm(at[:, None] - head.source_m[None], axis=-1)
    away = np.stack([apart[:, head.cortex.parcel == p].min(1) for p in range(gain.shape[1])], 1)
    near = [gain[(away > a) & (away <= b)].mean() for a, b in ((0, 0.01), (0.03, 0.05), (0.08, 1))]
    assert near[0] > 8 * near[1] > 20 * near[2]


def test_the_scalp_sees_more_parcels_than_a_contact(heads):
    head = Head(0, PLAIN)

    def parcels(gain):
        power = np.sort(gain**2, axis=1)[:, ::-1].cumsum(1)
        return np.median((power < 0.8 * power[:, -1:]).sum(1))

    assert parcels(head.gain("EEG")) > 3 * parcels(head.gain("SEEG"))


def test_parcels_keep_their_mni_places_and_go_to_the_head_frame(heads):
    one, two = (h.channels("BOLD") for h in heads[:2])
    assert one.layout() == two.layout() and one.name == heads[0].cortex.parcel_name
    for head in heads:
        at = in_head(head, "BOLD")
        mean = np.stack([head.source_m[head.cortex.parcel == p].mean(0) for p in range(len(at))])
        assert np.linalg.norm(at - mean, axis=1).max() < 0.005


def test_no_coil_touches_the_head(heads):
    for head in heads:
        assert from_centre(head, head.coils().pos_m).min() > head.shells.radius_m + 0.0119


@pytest.mark.parametrize("bad", [{"cap": "bathing"}, {"helmet": "bicycle"}])
def test_what_no_head_wears_is_refused(bad):
    with pytest.raises(DataError, match="choose one of"):
        HeadConfig(**bad)
    with pytest.raises(DataError, match="no simulated 'EMG'"):
        Head(0).channels("EMG")
