import mne
import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.signals.positions import (
    by_coil,
    channels_from_info,
    montage_positions,
    standard_positions,
)
from brainfm.types import Kind


def info(names, kind="eeg"):
    return mne.create_info(names, 250.0, kind, verbose="ERROR")


def vectorview(n=3):
    made = mne.channels.read_meg_canonical_info("neuromag", verbose="ERROR")
    return mne.pick_info(made, range(n), verbose="ERROR")


def test_montage_is_in_metres_and_right_way_round():
    left, right, front, top = montage_positions(["T7", "T8", "Fpz", "Cz"])
    assert left[0] < -0.05 < 0.05 < right[0] and front[1] > 0.08 and top[2] > 0.1


def test_names_off_the_montage_are_unknown():
    assert np.isnan(montage_positions(["Cz", "XY9"])[1]).all()


def test_an_unknown_montage_is_refused_with_known_ones():
    with pytest.raises(DataError, match="'standard_9999' is unknown"):
        standard_positions("standard_9999")


def test_missing_positions_come_from_the_montage_and_the_note_says_so():
    channels, notes = channels_from_info(info(["Cz", "Pz"]))
    assert channels.frame == "head" and np.isfinite(channels.pos_m).all()
    assert "nominal (standard_1005)" in notes[0]


def test_without_a_montage_positions_stay_unknown():
    channels, notes = channels_from_info(info(["Cz", "A9"]), montage=None)
    assert np.isnan(channels.pos_m).all() and channels.frame == "unknown"
    assert "no position for 2 of 2" in notes[0]


def test_measured_positions_are_never_mixed_with_nominal_ones():
    made = info(["Cz", "Pz"])
    made["chs"][0]["loc"][:3] = (0.01, 0.02, 0.1)
    channels, _ = channels_from_info(made)
    np.testing.assert_allclose(channels.pos_m[0], (0.01, 0.02, 0.1))
    assert np.isnan(channels.pos_m[1]).all()


def test_intracranial_contacts_get_no_scalp_position():
    channels, _ = channels_from_info(info(["Cz"], "seeg"))
    assert np.isnan(channels.pos_m).all() and channels.kind[0] == Kind.SEEG


def test_planar_gradiometers_point_along_their_first_axis_magnetometers_along_the_normal():
    made = vectorview()
    channels, _ = channels_from_info(made)
    kinds = channels.kind.tolist()
    loc = [c["loc"] for c in made["chs"]]
    for i, k in enumerate(kinds):
        axis = loc[i][3:6] if int(made["chs"][i]["coil_type"]) == 3012 else loc[i][9:12]
        np.testing.assert_allclose(channels.ori[i], axis, atol=1e-4)
        assert channels.unit[i] == ("T/m" if k == Kind.GRAD else "T")


def test_eeg_has_no_orientation():
    assert not channels_from_info(info(["Cz"]))[0].ori.any()


def test_head_transform_moves_positions_and_turns_orientations():
    made = vectorview()
    before, _ = channels_from_info(made)
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    turn[:3, 3] = (0.0, 0.0, 0.04)
    with made._unlock():
        made["dev_head_t"] = mne.transforms.Transform("meg", "head", turn)
    after, _ = channels_from_info(made)
    np.testing.assert_allclose(after.pos_m, before.pos_m @ turn[:3, :3].T + turn[:3, 3], atol=1e-6)
    np.testing.assert_allclose(after.ori, before.ori @ turn[:3, :3].T, atol=1e-6)
    assert before.frame == "device" and after.frame == "head"


def test_meg_without_a_way_to_the_head_is_said():
    made = vectorview()
    for transform in (None, mne.transforms.Transform("meg", "head", np.eye(4))):
        with made._unlock():
            made["dev_head_t"] = transform
        channels, notes = channels_from_info(made)
        assert channels.frame == "device" and "no device-to-head transform" in notes[0]


def test_ctf_coils_are_magnetometers_here_and_gradiometers_in_the_publication():
    made = mne.channels.read_meg_canonical_info("ctf275", verbose="ERROR")
    made = mne.pick_info(made, range(4), verbose="ERROR")
    channels, _ = channels_from_info(made)
    assert set(channels.kind.tolist()) == {Kind.MAG} and set(channels.unit) == {"T"}
    assert set(by_coil(channels, made).kind.tolist()) == {Kind.GRAD}


def test_electrodes_that_contradict_their_digitisation_are_noted():
    raw = mne.io.RawArray(np.zeros((3, 10)), info(["Cz", "Pz", "Oz"]), verbose="ERROR")
    raw.set_montage("standard_1005", verbose="ERROR")
    assert channels_from_info(raw.info)[1] == []
    raw.info["chs"][1]["loc"][0] += 0.05
    assert "positions of Pz" in channels_from_info(raw.info)[1][0]
