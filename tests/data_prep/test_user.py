import json
import warnings

import mne
import numpy as np
import pytest
from prep_helpers import NAMES, make_raw, pink, write_brainvision, write_edf, write_fif

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep.user import UserOptions, load_user_job, subject_of, user_jobs

RECIPE = Recipe()


def load_all(source, **options):
    jobs = user_jobs(source, UserOptions(**options), "mine")
    return {j.name: load_user_job(j, RECIPE) for j in jobs}


def test_every_format_below_a_folder_is_found(tmp_path):
    (tmp_path / "p1").mkdir()
    write_edf(tmp_path / "p1" / "a.edf")
    write_fif(tmp_path / "b_raw.fif")
    write_brainvision(tmp_path / "c.vhdr")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.edf").write_text("x")
    found = load_all(tmp_path, line_freq=50.0)
    assert set(found) == {"p1/a.edf", "b_raw.fif", "c.vhdr"}
    assert [found[n].subject for n in sorted(found)] == ["b_raw", "c", "p1"]


def test_a_single_file_is_a_source(tmp_path):
    write_edf(tmp_path / "a.edf")
    write_edf(tmp_path / "b.edf")
    assert set(load_all(tmp_path / "a.edf")) == {"a.edf"}


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no recording; known extensions: \.edf"):
        user_jobs(tmp_path, UserOptions())
    with pytest.raises(DataError, match="missing; check --source"):
        user_jobs(tmp_path / "nowhere", UserOptions())


@pytest.mark.parametrize(
    ("path", "pattern", "who"),
    [
        ("sub-07/eeg/sub-07_task-rest_eeg.edf", None, "07"),
        ("patient3/night1.edf", None, "patient3"),
        ("night1.edf", None, "night1"),
        ("data/chb01_03.edf", r"(chb\d+)", "chb01"),
    ],
)
def test_who_was_recorded_is_read_off_the_path(path, pattern, who):
    assert subject_of(path, pattern) == who


def test_files_that_name_nobody_say_so(tmp_path):
    write_edf(tmp_path / "night1.edf")
    assert any("nobody says who" in n for n in load_all(tmp_path)["night1.edf"].notes)
    named = load_all(tmp_path, subject=r"(night)\d")["night1.edf"]
    assert named.subject == "night" and not any("nobody says" in n for n in named.notes)


def test_a_pattern_that_does_not_match_is_refused():
    with pytest.raises(DataError, match="does not match it with a group"):
        subject_of("a.edf", r"chb(\d+)")


def test_duplicates_may_keep_their_first(tmp_path):
    from prep_helpers import edf_field

    path = write_edf(tmp_path / "a.edf")
    path.write_bytes(edf_field(path.read_bytes(), "label", "Fp1", 2))
    with pytest.raises(DataError, match="'Fp1' appears twice .columns 1 and 3"):
        load_all(tmp_path)
    assert load_all(tmp_path, duplicates="first")["a.edf"].channels.name == ("Fp1", "C3", "O2")


def test_positions_may_be_left_unknown(tmp_path):
    write_edf(tmp_path / "a.edf")
    assert np.isnan(load_all(tmp_path, montage="none")["a.edf"].channels.pos_m).all()


def fields(**more):
    x = pink(4, 4000) * 1e6
    return {"data": x, "sfreq": 200.0, "ch_names": np.array(NAMES), "unit": "uV", **more}


def write_array(path, content):
    if path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".npy":
        np.save(path, content["data"])
        rest = {k: v for k, v in content.items() if k != "data"}
        rest["ch_names"] = list(map(str, rest["ch_names"]))
        path.with_suffix(".json").write_text(json.dumps(rest))
    else:
        import h5py

        with h5py.File(path, "w") as f:
            f["data"] = content["data"]
            f["ch_names"] = [n.encode() for n in content["ch_names"]]
            f.attrs["sfreq"], f.attrs["unit"] = content["sfreq"], content["unit"]
    return path


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.h5"])
def test_arrays_with_named_fields(tmp_path, name):
    write_array(tmp_path / name, fields())
    r = load_all(tmp_path)[name]
    assert r.channels.name == tuple(NAMES) and r.duration_s == pytest.approx(20)
    assert 1e-6 < r.signal.std() < 1e-4


def test_arrays_carry_types_and_positions(tmp_path):
    pos = np.arange(12).reshape(4, 3) / 100 + 0.01
    content = fields(ch_types=np.array(["seeg"] * 4), pos_m=pos)
    write_array(tmp_path / "a.npz", content)
    r = load_all(tmp_path)["a.npz"]
    assert r.channels.kind.tolist() == [4] * 4
    np.testing.assert_allclose(r.channels.pos_m, pos, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": np.zeros((4000, 4))}, r"shape \(4000, 4\) for 4 channel names"),
        ({"unit": "furlong"}, "unit is 'furlong'"),
        ({"sfreq": 0.0}, "sampling rate is 0.0 Hz"),
        ({"sfreq": np.nan}, "sampling rate is nan Hz"),
        ({"ch_names": np.array(["Cz", "Pz", "Oz", "Cz"])}, "'Cz' appears twice"),
        ({"ch_types": np.array(["eeg", "mag"])}, "2 channel types for 4"),
        ({"ch_types": np.array(["brain"] * 4)}, "correct ch_types"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, change, says):
    write_array(tmp_path / "a.npz", fields(**change))
    with pytest.raises(DataError, match=rf"a\.npz: .*{says}"):
        load_all(tmp_path)


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"a\.npy: cannot be read"):
        load_all(tmp_path)


def test_a_bare_npy_says_what_it_needs(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 100)))
    with pytest.raises(DataError, match=r"needs a\.json beside it with data \(channels, samples\)"):
        load_all(tmp_path)


@pytest.fixture
def bids_root(tmp_path):
    import mne_bids

    root = tmp_path / "bids"
    for subject in ("01", "02"):
        raw = make_raw(seconds=40, seed=int(subject))
        raw.info["line_freq"] = 60.0
        path = mne_bids.BIDSPath(
            subject=subject, session="a", task="rest", root=root, datatype="eeg"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = write_edf(tmp_path / f"{subject}.edf", raw)
            raw = mne.io.read_raw_edf(source, verbose="ERROR")
            raw.info["line_freq"] = 60.0
            mne_bids.write_raw_bids(raw, path, overwrite=True, verbose="ERROR")
            mne_bids.mark_channels(
                path.update(suffix="eeg", extension=".edf"),
                ch_names=["Pz"],
                status="bad",
                verbose="ERROR",
            )
    return root


def test_a_bids_root_gives_subjects_sessions_events_line_and_bad_channels(bids_root):
    found = load_all(bids_root)
    assert sorted(r.subject for r in found.values()) == ["01", "02"]
    r = found["sub-01/ses-a/eeg/sub-01_ses-a_task-rest_eeg.edf"]
    assert (r.session, r.line_freq, r.split_group) == ("a", 60.0, "mine/01")
    assert r.channels.name == ("Fp1", "C3", "O2")
    assert {e.label for e in r.events} == {"left", "rêve"}


def test_derivatives_of_a_bids_root_are_left_out(bids_root):
    (bids_root / "derivatives").mkdir()
    write_edf(bids_root / "derivatives" / "sub-01_eeg.edf")
    assert len(user_jobs(bids_root, UserOptions())) == 2


def test_a_truncated_file_in_a_bids_root_is_refused(bids_root):
    path = next(bids_root.rglob("*.edf"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="truncated or damaged"):
        load_all(bids_root)
