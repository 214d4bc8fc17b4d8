"""The older release of Bern: hours in MATLAB files, seizures counted from the first hour."""

import h5py
import numpy as np
import pytest
import scipy.io
from prep_helpers import pink

from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event, Kind
from data_prep.cli import main
from data_prep.datasets import get_dataset

UNTOUCHED = Recipe(sfreq=256.0, highpass_hz=None, lowpass_hz=None, notch=False)


def hour(root, n=1, who="ID01", seconds=20, channels=4, **content):
    folder = root / "swec_ethz" / who
    folder.mkdir(parents=True, exist_ok=True)
    x_CT = pink(channels, 256 * seconds, n) * 1e6
    scipy.io.savemat(folder / f"{who}_{n}h.mat", {"EEG": x_CT} | content)
    return x_CT


def info(root, begin=(5.0,), end=(9.0,), who="ID01", **content):
    values = {"fs": 256, "seizure_begin": np.array([begin]).T, "seizure_end": np.array([end]).T}
    scipy.io.savemat(root / "swec_ethz" / who / f"{who}_info.mat", values | content)


def load_all(root):
    dataset = get_dataset("swec_ethz")
    dataset.fetch(root, print)
    return [dataset.load(j, UNTOUCHED) for j in dataset.jobs(root)]


def test_an_hour_has_the_seizures_that_fall_into_it(tmp_path):
    x_CT = hour(tmp_path, 1)
    hour(tmp_path, 2)
    hour(tmp_path, 12)
    info(tmp_path, (5.0, 3610.0, 3600 + 19.0), (9.0, 3612.5, 3600 + 60.0))
    first, second, calm = load_all(tmp_path)
    np.testing.assert_allclose(first.signal.T, x_CT * 1e-6, atol=1e-10)
    assert first.events == [Event(5, 4, "sz")]
    assert second.events == [Event(10, 2.5, "sz"), Event(19, 1, "sz")]
    assert calm.events == [Event(0, 20, "bckg")] and calm.name == "ID01_0012h"
    assert {r.split_group for r in (first, second, calm)} == {"swec_ethz/ID01"}
    assert set(first.channels.kind.tolist()) == {Kind.SEEG}


def test_a_seizure_across_the_end_of_an_hour_is_in_both(tmp_path):
    for n in (1, 2):
        hour(tmp_path, n, seconds=3600, channels=1)
    info(tmp_path, (3590.0,), (3620.0,))
    first, second = load_all(tmp_path)
    assert first.events == [Event(3590, 10, "sz")] and second.events == [Event(0, 20, "sz")]


def test_files_of_matlab_7_are_read_as_matlab_shows_them(tmp_path):
    x_CT = hour(tmp_path)
    folder = tmp_path / "swec_ethz" / "ID01"
    with h5py.File(folder / "ID01_1h.mat", "w") as f:
        f["EEG"] = x_CT.T
    with h5py.File(folder / "ID01_info.mat", "w") as f:
        f["fs"], f["seizure_begin"], f["seizure_end"] = [[256.0]], [[5.0]], [[9.0]]
    (r,) = load_all(tmp_path)
    np.testing.assert_allclose(r.signal.T, x_CT * 1e-6, atol=1e-10)
    assert r.events == [Event(5, 4, "sz")]


def test_what_is_missing_or_wrong_is_named(tmp_path):
    with pytest.raises(DataError, match="brainfm does not download it.*ieeg-swez"):
        load_all(tmp_path)
    hour(tmp_path)
    with pytest.raises(DataError, match=r"ID01_info\.mat: missing"):
        load_all(tmp_path)
    info(tmp_path, (5.0, 8.0))
    with pytest.raises(DataError, match="2 begins and 1 ends"):
        load_all(tmp_path)
    info(tmp_path, (9.0,), (5.0,))
    with pytest.raises(DataError, match=r"ID01_info\.mat: .* lasts -4 s"):
        load_all(tmp_path)
    info(tmp_path)
    hour(tmp_path, EEG=np.zeros(7))
    with pytest.raises(DataError, match=r"ID01_1h"):
        load_all(tmp_path)
    (tmp_path / "swec_ethz" / "ID01" / "ID01_1h.mat").write_bytes(b"MATLAB 5.0 no")
    with pytest.raises(DataError, match=r"ID01_1h\.mat: cannot be read"):
        load_all(tmp_path)


def test_only_the_best_contacts_are_prepared_where_that_is_asked_for(tmp_path):
    x_CT = hour(tmp_path, seconds=60)
    x_CT[1] *= 50
    x_CT[3] *= 20
    hour(tmp_path, seconds=60, EEG=x_CT)
    info(tmp_path)
    run = ["run", "--dataset", "swec_ethz", "--data-root", str(tmp_path), "--jobs", "0"]
    for n, kept in (("2", 2), ("3", 3), (None, 4)):
        assert main([*run, *(["--best-contacts", n] if n else [])]) == 0
        channels = Store(tmp_path / "store").channels(0)
        assert len(channels) == kept
        if n == "2":
            assert channels.name == ("contact002", "contact004")
    assert len(list((tmp_path / "store" / "swec_ethz").glob("*.safetensors"))) == 1
