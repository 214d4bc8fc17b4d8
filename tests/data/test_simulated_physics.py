"""Closed forms of simulated heads: equal to MNE's where MNE has them, else to physics."""

from dataclasses import replace

import numpy as np
import pytest

from brainfm.data.coils import CTF_AXIAL, HELMETS, VV_MAG, VV_PLANAR, coil_gain, coil_points, helmet
from brainfm.data.sphere import (
    BRAIN_S_M,
    Shells,
    inner_potential,
    magnetic_field,
    scalp_potential,
    shell_factors,
)
from brainfm.errors import DataError

CENTRE = np.array([0.0, 0.0, 0.0401487349])
"""Of the sphere on which MNE's BioSemi caps lie."""
SHELLS = Shells(CENTRE, 0.095)


def directions(n, seed=0):
    v = np.random.default_rng(seed).normal(size=(n, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def dipoles():
    """Places from near the centre to near the skull, and unit moments in any direction."""
    depth = np.linspace(0.1, 0.92, 12)[:, None] * SHELLS.brain_m
    return CENTRE + depth * directions(12), directions(12, 1)


def forward(info, dipoles):
    """MNE's own, (C, S), in the order of the channels."""
    import mne

    place, moment = dipoles
    sphere = mne.make_sphere_model(tuple(CENTRE), 0.095, verbose="ERROR")
    source = mne.setup_volume_source_space(
        pos={"rr": place, "nn": moment}, sphere=(*CENTRE, 0.095), verbose="ERROR"
    )
    # Sources that MNE leaves out would shift all others.
    made = mne.make_forward_solution(
        info, None, source, sphere, mindist=0, on_inside="ignore", verbose="ERROR"
    )
    assert made["nsource"] == len(place)
    gain = made["sol"]["data"].reshape(len(info["ch_names"]), -1, 3)
    row = {name: k for k, name in enumerate(made["sol"]["row_names"])}
    gain = gain[[row[name] for name in info["ch_names"]]]
    return np.einsum("csk,sk->cs", gain, moment)


def coil_info(coils):
    """The same coils as MNE describes them."""
    import mne
    from mne._fiff.constants import FIFF

    types = ["grad" if c == VV_PLANAR else "mag" for c in coils.coil]
    info = mne.create_info(list(coils.name), 100.0, types, verbose="ERROR")
    for ch, pos, axes, coil in zip(
        info["chs"], coils.pos_m, coils.axes_C33, coils.coil, strict=True
    ):
        ch["loc"][:12] = np.concatenate([pos, axes.ravel()])
        ch["coil_type"], ch["coord_frame"] = int(coil), FIFF.FIFFV_COORD_DEVICE
    with info._unlock():
        info["dev_head_t"] = mne.Transform("meg", "head", np.eye(4))
    return info


def error(mine, theirs):
    """Largest relative error of any source's topography."""
    return (np.linalg.norm(mine - theirs, axis=0) / np.linalg.norm(theirs, axis=0)).max()


def test_scalp_potentials_are_those_of_mne(dipoles):
    import mne

    montage = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(montage.ch_names, 100.0, "eeg", verbose="ERROR").set_montage(montage)
    at = np.array([ch["loc"][:3] for ch in info["chs"]])
    assert error(scalp_potential(SHELLS, at, *dipoles), forward(info, dipoles)) < 0.01


@pytest.mark.parametrize("kind", list(HELMETS))
def test_helmets_measure_what_mne_says(kind, dipoles):
    worn = helmet(kind)
    coils = replace(worn, pos_m=worn.pos_m + CENTRE).outside(CENTRE, SHELLS.radius_m)
    mine, theirs = coil_gain(coils, CENTRE, *dipoles), forward(coil_info(coils), dipoles)
    for coil in np.unique(coils.coil):
        rows = coils.coil == coil
        assert error(mine[rows], theirs[rows]) < 1e-4, coil


def test_mirrored_sources_give_mirrored_potentials_and_fields(dipoles):
    mirror = np.array([-1.0, 1.0, 1.0])
    place, moment = dipoles
    at = CENTRE + 0.095 * directions(20, 2)
    volts = scalp_potential(SHELLS, at, place, moment)
    other = scalp_potential(SHELLS, at * mirror, place * mirror, moment * mirror)
    assert np.allclose(volts, other, rtol=1e-9, atol=1e-9 * np.abs(volts).max())
    # Fields are axial vectors: mirrored, their normal component changes its sign.
    away = directions(20, 2)
    tesla = magnetic_field(CENTRE, at + 0.02 * away, away, place, moment)
    other = magnetic_field(
        CENTRE, (at + 0.02 * away) * mirror, away * mirror, place * mirror, moment * mirror
    )
    assert np.allclose(tesla, -other, rtol=1e-9, atol=1e-9 * np.abs(tesla).max())


def test_a_uniform_sphere_lets_every_order_through():
    same = Shells(CENTRE, 0.1, (0.5, 0.8, 1.0), (0.33, 0.33, 0.33))
    assert np.allclose(shell_factors(same), 1)
    assert (shell_factors(SHELLS)[:60] < 1).all()


def test_a_dipole_at_the_centre_of_a_uniform_sphere_has_the_potential_of_the_textbook():
    # 3 q cos / (4 pi sigma R^2): three times that of an unbounded medium.
    same = Shells(CENTRE, 0.1, (0.9, 1.0), (0.33, 0.33))
    away = directions(9)
    moment = np.array([[0.0, 0.0, 1e-9]])
    volts = scalp_potential(same, CENTRE + 0.1 * away, CENTRE[None], moment)
    expected = 3 * 1e-9 * away[:, 2] / (4 * np.pi * 0.33 * 0.1**2)
    assert np.allclose(volts[:, 0], expected, rtol=1e-6)


def test_the_series_has_enough_terms_for_the_outermost_sources():
    place = CENTRE + 0.97 * SHELLS.brain_m * directions(6)
    at = CENTRE + 0.095 * np.concatenate([directions(6), directions(9, 4)])
    usual = scalp_potential(SHELLS, at, place, directions(6, 5))
    many = scalp_potential(SHELLS, at, place, directions(6, 5), terms=400)
    assert error(usual, many) < 1e-4


def test_electrodes_are_taken_to_the_scalp(dipoles):
    away = directions(5)
    near, far = (scalp_potential(SHELLS, CENTRE + r * away, *dipoles) for r in (0.09, 0.11))
    assert np.allclose(near, far)


def test_a_source_in_the_skull_is_refused():
    with pytest.raises(DataError, match="move it inside"):
        scalp_potential(SHELLS, CENTRE + directions(3) * 0.1, CENTRE[None] + 0.06, np.ones((1, 3)))


def test_radial_sources_are_silent_outside():
    away = directions(8)
    place = CENTRE + 0.06 * away
    at = directions(11, 3)
    silent = magnetic_field(CENTRE, CENTRE + 0.12 * at, at, place, away)
    tangential = np.cross(away, directions(8, 7))
    loud = magnetic_field(CENTRE, CENTRE + 0.12 * at, at, place, tangential)
    assert np.abs(silent).max() < 1e-12 * np.abs(loud).max()


def test_potentials_inside_the_head_fall_with_the_square_of_the_distance():
    source, moment = np.zeros((1, 3)), np.array([[0.0, 0.0, 1e-8]])
    at = np.array([0.02, 0.04, 0.08])[:, None] * [0.0, 0.0, 1.0]
    volts = inner_potential(at, source, moment, patch_m=0.0)[:, 0]
    assert volts[0] == pytest.approx(1e-8 / (4 * np.pi * BRAIN_S_M * 0.02**2))
    assert volts[:2] / volts[1:] == pytest.approx([4, 4])


def test_potentials_beside_a_patch_stay_finite_and_change_sign_across_it():
    moment = np.array([[0.0, 0.0, 1e-8]])
    at = np.linspace(-0.01, 0.01, 41)[:, None] * [0.0, 0.0, 1.0]
    volts = inner_potential(at, np.zeros((1, 3)), moment)[:, 0]
    assert np.isfinite(volts).all() and volts[20] == 0
    assert np.allclose(volts, -volts[::-1]) and volts[21:].min() > 0
    assert np.abs(volts).max() < 2e-4


def test_planar_coils_take_a_difference_and_magnetometers_a_mean():
    weight, at, _ = coil_points(VV_PLANAR)
    assert weight.sum() == pytest.approx(0) and (weight * at[:, 0]).sum() == pytest.approx(1, 1e-3)
    weight, _, _ = coil_points(VV_MAG)
    assert weight.sum() == pytest.approx(1, abs=1e-3)
    weight, at, _ = coil_points(CTF_AXIAL)
    assert weight.sum() == pytest.approx(0, abs=1e-3)
    assert at[weight < 0, 2].mean() - at[weight > 0, 2].mean() == pytest.approx(0.05, abs=1e-3)


def test_a_coil_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="no coil 4711"):
        coil_points(4711)
    with pytest.raises(DataError, match="choose vectorview or ctf"):
        helmet("paper")


@pytest.mark.parametrize("kind", list(HELMETS))
def test_coils_surround_the_head_and_point_away_from_it(kind):
    coils = helmet(kind)
    apart = np.linalg.norm(coils.pos_m, axis=1)
    assert 0.085 < apart.min() and apart.max() < 0.15
    x, y, z = coils.axes_C33.transpose(1, 0, 2)
    assert np.allclose(coils.axes_C33 @ coils.axes_C33.transpose(0, 2, 1), np.eye(3))
    assert np.allclose(np.cross(x, y), z)
    assert ((z * coils.pos_m).sum(1) > 0).all()
    assert (coils.outside(np.zeros(3), 0.11).pos_m ** 2).sum(1).min() > 0.12**2


def test_a_vectorview_site_has_three_coils_at_right_angles():
    coils = helmet("vectorview")
    assert len(coils.name) == 306 and coils.name[:3] == ("MEG0011", "MEG0012", "MEG0013")
    channels = coils.channels()
    ori = channels.ori.reshape(102, 3, 3)
    assert np.allclose(ori @ ori.transpose(0, 2, 1), np.eye(3), atol=1e-6)
    assert [channels.unit[k] for k in range(3)] == ["T", "T/m", "T/m"]
