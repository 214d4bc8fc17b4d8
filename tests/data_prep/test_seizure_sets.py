"""SWEC, MAYO/FNUSA and the Michigan recording, on small files that the tests write."""

import h5py
import numpy as np
import pytest
import scipy.io
from prep_helpers import pink

import data_prep.datasets.swec as swec
from brainfm.data.splits import split_of
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event, Kind
from data_prep.datasets import get_dataset
from data_prep.datasets.swec import cut_points
from data_prep.datasets.umich_seizure import CHANNELS

RECIPE = Recipe(sfreq=128.0, highpass_hz=0.5, lowpass_hz=40.0)
UNTOUCHED = Recipe(sfreq=256.0, highpass_hz=None, lowpass_hz=None, notch=False)
SPANS = np.dtype([("onsets", "f8"), ("offsets", "f8")])


def write_h5(path, x_CT=None, seizures=None, sfreq=256.0, first=True, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as f:
        if x_CT is not None:
            x = np.asarray(x_CT if first else x_CT.T, np.float32)
            f.create_dataset("data/ieeg", data=x, **options)
            f.attrs["channels"] = len(x_CT)
        f.attrs["sampling_rate"] = sfreq
        if seizures is not None:
            f["data/seizures"] = np.array(list(seizures), SPANS)[:, None]
    return path


def microvolts(n_channels=4, seconds=40, seed=0):
    return pink(n_channels, int(256 * seconds), seed) * 1e6


def patient(root, who="ID01", x_CT=None, seizures=((5.0, 9.0),), **more):
    x_CT = microvolts() if x_CT is None else x_CT
    return write_h5(root / "swec" / who / f"{who}_total.h5", x_CT, seizures, **more)


def patient_of_parts(root, who="ID01", x_CT=None, seizures=((5.0, 9.0),), cite=None, listed=True):
    """A total file whose `data/ieeg` is a view of two part files, as released."""
    x_CT = microvolts() if x_CT is None else x_CT
    n = x_CT.shape[1] // 3
    folder = root / "swec" / who
    names = [f"{who}_part_1.h5", f"{who}_part_2.h5"]
    for name, x in zip(names, (x_CT[:, :n], x_CT[:, n:]), strict=True):
        write_h5(folder / name, x)
    layout = h5py.VirtualLayout(x_CT.shape, "f4")
    for name, a, b in zip(cite or names, (0, n), (n, x_CT.shape[1]), strict=True):
        layout[:, a:b] = h5py.VirtualSource(name, "data/ieeg", (len(x_CT), b - a))
    with h5py.File(folder / f"{who}_total.h5", "w") as f:
        f.create_virtual_dataset("data/ieeg", layout)
        f.attrs["sampling_rate"], f.attrs["channels"] = 256.0, len(x_CT)
        f["data/seizures"] = np.array(list(seizures), SPANS)
        if listed:
            f["info/files"] = names
    return folder


def load_all(name, root, recipe=RECIPE):
    dataset = get_dataset(name)
    return {j.name: dataset.load(j, recipe) for j in dataset.jobs(root)}


def test_a_patient_of_swec_becomes_intracranial_volts_without_places(tmp_path):
    x_CT = microvolts()
    patient(tmp_path, x_CT=x_CT)
    (r,) = load_all("swec", tmp_path, UNTOUCHED).values()
    assert set(r.channels.kind.tolist()) == {Kind.SEEG} and np.isnan(r.channels.pos_m).all()
    np.testing.assert_allclose(r.signal.T, x_CT * 1e-6, atol=1e-10)
    assert r.events == [Event(5.0, 4.0, "sz")] and r.subject == "ID01"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("part_s", [10, 15])
def test_parts_of_a_recording_are_the_recording(tmp_path, monkeypatch, first, part_s):
    monkeypatch.setattr(swec, "PART_S", part_s)
    monkeypatch.setattr(swec, "MARGIN_S", 1)
    x_CT = microvolts()
    patient(tmp_path, x_CT=x_CT, seizures=[(9.5, 12.0)], first=first)
    parts = list(load_all("swec", tmp_path, UNTOUCHED).values())
    assert len(parts) > 2
    whole = np.concatenate([r.signal for r in parts])
    np.testing.assert_allclose(whole.T, x_CT * 1e-6, atol=1e-10)
    at, found = 0.0, []
    for r in parts:
        seizures = [e for e in r.events if e.label == "sz"]
        found += [(e.onset_s + at, e.onset_s + at + e.duration_s) for e in seizures]
        assert r.events == seizures or r.events == [Event(0.0, r.duration_s, "bckg")]
        at += r.duration_s
    assert found == [(9.5, 12.0)]


def test_cuts_avoid_seizures_but_no_part_is_twice_as_long():
    assert cut_points(3000, ()) == [0, 3000]
    assert cut_points(9000, ()) == [0, 3600, 7200, 9000]
    assert cut_points(9000, ((3590.0, 3700.0),)) == [0, 3760, 7360, 9000]
    assert cut_points(20_000, ((100.0, 15_000.0),))[:3] == [0, 7200, 14_400]
    # A rest of seconds stays with the part before it.
    assert cut_points(3610, ()) == [0, 3610]


def test_part_files_are_read_even_if_the_view_names_another_patients(tmp_path):
    x_CT = microvolts()
    patient_of_parts(tmp_path, x_CT=x_CT, cite=["ID02_part_1.h5", "ID02_part_2.h5"])
    (r,) = load_all("swec", tmp_path, UNTOUCHED).values()
    np.testing.assert_allclose(r.signal.T, x_CT * 1e-6, atol=1e-10)


def test_a_missing_part_is_named(tmp_path):
    folder = patient_of_parts(tmp_path)
    (folder / "ID01_part_2.h5").unlink()
    with pytest.raises(DataError, match=r"ID01_part_2\.h5: missing"):
        load_all("swec", tmp_path)


def test_parts_that_do_not_add_up_are_refused(tmp_path):
    folder = patient_of_parts(tmp_path, listed=False)
    write_h5(folder / "ID01_part_2.h5", microvolts(seconds=5))
    with pytest.raises(DataError, match="its parts hold"):
        load_all("swec", tmp_path)
    write_h5(folder / "ID01_part_2.h5", microvolts(n_channels=3))
    with pytest.raises(DataError, match="not 4 channels"):
        load_all("swec", tmp_path)


def test_a_recording_under_two_patients_is_taken_once(tmp_path):
    patient(tmp_path, "ID01")
    patient(tmp_path, "ID02", x_CT=microvolts(seed=2), seizures=[(6.0, 9.0)])
    patient(tmp_path, "ID07")
    found = load_all("swec", tmp_path)
    assert sorted(r.subject for r in found.values()) == ["ID01", "ID02"]
    assert any("ID07 repeat" in n for n in found["ID01_0000"].notes)


def test_patients_have_channels_of_their_own(tmp_path):
    patient(tmp_path, "ID01", x_CT=microvolts(3))
    patient(tmp_path, "ID02", x_CT=microvolts(7), seizures=())
    found = load_all("swec", tmp_path)
    assert [len(r.channels) for r in found.values()] == [3, 7]
    assert [r.split_group for r in found.values()] == ["swec/ID01", "swec/ID02"]
    assert found["ID02_0000"].events == [Event(0.0, 40.0, "bckg")]


def test_a_recording_without_annotations_is_not_called_seizure_free(tmp_path):
    patient(tmp_path, seizures=None)
    (r,) = load_all("swec", tmp_path).values()
    assert r.events == [] and any("not annotated" in n for n in r.notes)


@pytest.mark.parametrize(
    ("seizures", "events"),
    [
        ([(0.0, 3.0)], [Event(0, 3, "sz")]),
        ([(38.0, 50.0)], [Event(38, 2, "sz")]),
        ([(5.0, 9.0), (8.0, 12.0)], [Event(5, 7, "sz")]),
        ([(90.0, 95.0)], [Event(0, 40, "bckg")]),
    ],
)
def test_seizures_of_swec_are_put_inside_the_recording(tmp_path, seizures, events):
    patient(tmp_path, seizures=seizures)
    (r,) = load_all("swec", tmp_path).values()
    assert r.events == events


def test_a_seizure_without_an_end_refuses_the_patient(tmp_path):
    path = patient(tmp_path, seizures=[(5.0, np.nan)])
    with pytest.raises(DataError, match="lasts nan s") as e:
        load_all("swec", tmp_path)
    assert str(path) in str(e.value)


def test_a_gap_filled_with_zeros_is_cut_out(tmp_path):
    x_CT = microvolts()
    x_CT[:, 256 * 12 : 256 * 20] = 0
    patient(tmp_path, x_CT=x_CT)
    (r,) = load_all("swec", tmp_path).values()
    (a, b), (c, d) = r.intervals_s
    assert (
        (a, d) == (0.0, 40.0)
        and b == pytest.approx(12, abs=0.1)
        and c == pytest.approx(20, abs=0.1)
    )


def test_a_damaged_patient_does_not_hide_the_others(tmp_path):
    patient(tmp_path, "ID01")
    (tmp_path / "swec" / "ID02").mkdir()
    (tmp_path / "swec" / "ID02" / "ID02_total.h5").write_bytes(b"\x89HDF\r\n\x1a\nxx")
    write_h5(tmp_path / "swec" / "ID03" / "ID03_total.h5")
    dataset = get_dataset("swec")
    good, *bad = dataset.jobs(tmp_path)
    assert dataset.load(good, RECIPE).subject == "ID01" and len(bad) == 2
    for job in bad:
        with pytest.raises(DataError, match=f"{job.name}_total.h5: no recording of SWEC"):
            dataset.load(job, RECIPE)


def test_a_compression_that_h5py_lacks_names_its_package(tmp_path):
    path = patient(tmp_path, compression="gzip")
    content = path.read_bytes()
    # The filter message: number (1 is deflate), length of the name, flags, values, name.
    at = content.index(b"deflate\0") - 8
    assert content[at : at + 2] == b"\x01\x00"
    path.write_bytes(content[:at] + (31999).to_bytes(2, "little") + content[at + 2 :])
    with pytest.raises(DataError, match="HDF5 filter 31999.*pip install hdf5plugin"):
        load_all("swec", tmp_path)


def write_clips(root, folder="DATASET_MAYO", patients=(0, 0, 3), labels=None, **broken):
    path = root / "mayo_fnusa" / folder
    path.mkdir(parents=True)
    labels = labels or ["physiology", "pathology", "noise"]
    rows = []
    for i, (who, label) in enumerate(zip(patients, labels, strict=True)):
        x = 20 * np.sin(2 * np.pi * (3 + i) * np.arange(15_000) / 5000)[None] + 100
        x = broken.get(f"s{i}", x)
        scipy.io.savemat(path / f"s{i}.mat", {"data": x})
        rows.append(f"{i},A,2,LA1,depth,mayo,{who},1,s{i},0,{label}")
    header = "index,anatomy,category_id,channel,electrode_type,institution,patient_id,reviewer_id"
    (path / "segments.csv").write_text(
        f"{header},segment_id,soz,category_name\n" + "\n".join(rows) + "\n"
    )
    return path


def test_clips_become_one_recording_a_patient(tmp_path):
    write_clips(tmp_path)
    write_clips(tmp_path, "DATASET_FNUSA", patients=(0,), labels=["noise"])
    found = load_all("mayo_fnusa", tmp_path)
    assert list(found) == ["MAYO_0", "MAYO_3", "FNUSA_0"]
    r = found["MAYO_0"]
    assert r.events == [Event(0, 3, "physiology"), Event(3, 3, "pathology")]
    assert r.intervals_s == [(0, 3), (3, 6)] and r.signal.shape == (768, 1)
    assert r.signal.std() == pytest.approx(20e-6 / 2**0.5, rel=0.02)
    # Patient 0 of one hospital is not patient 0 of the other.
    assert {r.split_group for r in found.values()} == {
        *("mayo_fnusa/MAYO_0", "mayo_fnusa/MAYO_3", "mayo_fnusa/FNUSA_0")
    }
    assert any("not the detection of seizures" in n for n in r.notes)


def test_odd_clips_are_left_out_and_counted(tmp_path):
    nan = np.full((1, 15_000), np.nan)
    write_clips(tmp_path, patients=(1, 1, 1), s0=nan, s2=np.zeros((1, 9000)))
    (r,) = load_all("mayo_fnusa", tmp_path).values()
    assert [e.label for e in r.events] == ["pathology"]
    assert any("1 clips are left out: NaN" in n for n in r.notes)
    assert any("9000 samples" in n for n in r.notes)


def test_damaged_clips_and_tables_are_named(tmp_path):
    folder = write_clips(tmp_path, s2=np.zeros((2, 15_000)))
    with pytest.raises(DataError, match=r"s2\.mat: data has shape \(2, 15000\)"):
        load_all("mayo_fnusa", tmp_path)
    (folder / "s0.mat").write_bytes(b"MATLAB 5.0 no")
    with pytest.raises(DataError, match=r"s0\.mat: cannot be read"):
        load_all("mayo_fnusa", tmp_path)
    table = folder / "segments.csv"
    table.write_text(table.read_text().replace("category_name", "name"))
    with pytest.raises(DataError, match=r"segments\.csv: has no column category_name"):
        load_all("mayo_fnusa", tmp_path)
    table.write_text("segment_id,category_name,patient_id\na,noise,1\na,noise,1\n")
    with pytest.raises(DataError, match="line 3 .* repeats 'a'"):
        load_all("mayo_fnusa", tmp_path)


def write_michigan(root, n=50_000, **lines):
    folder = root / "umich_seizure"
    folder.mkdir()
    x_CT = np.round(pink(len(CHANNELS), n) * 1e6 - 200)
    for i, x in enumerate(x_CT, 1):
        name = f"ch{i:02d}.inp"
        text = "".join(f" {v:.0f}\n" for v in x)
        (folder / name).write_text(lines.get(name[:4], text))
    return folder, x_CT


def test_the_michigan_recording_has_its_seizure_and_never_trains(tmp_path):
    folder, x_CT = write_michigan(tmp_path)
    (folder / "ch22.inp").write_text("unnamed\n")
    untouched = Recipe(sfreq=100.0, highpass_hz=None, lowpass_hz=None, notch=False)
    (r,) = load_all("umich_seizure", tmp_path, untouched).values()
    assert r.split == "test" and r.split_group == "umich_seizure/1"
    assert r.events == [Event(350.0, 100.0, "sz")] and r.duration_s == 500.0
    assert len(r.channels) == 18 and not {"SP1", "SP2", "Cz"} & set(r.channels.name)
    assert np.isfinite(r.channels.pos_m).all()
    for name, row in (("Fp1", 0), ("F7", 12), ("T7", 14), ("P8", 17), ("Pz", 20)):
        x = r.signal[:, r.channels.name.index(name)]
        np.testing.assert_allclose(x, x_CT[row] * 1e-6, atol=1e-9)


def test_an_incomplete_michigan_recording_is_refused(tmp_path):
    folder, _ = write_michigan(tmp_path, ch04="1\n2\n")
    with pytest.raises(DataError, match=r"ch04\.inp: has 2 samples, not the 50000"):
        load_all("umich_seizure", tmp_path)
    (folder / "ch03.inp").write_text("1\n2\nx3\n")
    with pytest.raises(DataError, match=r"ch03\.inp: line 3 is 'x3', not a number"):
        load_all("umich_seizure", tmp_path)
    (folder / "ch02.inp").unlink()
    with pytest.raises(DataError, match=r"ch02\.inp is missing"):
        load_all("umich_seizure", tmp_path)


@pytest.mark.parametrize("name", ["swec", "mayo_fnusa", "umich_seizure"])
def test_what_is_not_there_is_refused_with_its_home(tmp_path, name):
    dataset = get_dataset(name)
    with pytest.raises(DataError, match="brainfm does not download") as e:
        dataset.fetch(tmp_path, print)
    assert dataset.facts.origin in str(e.value) and str(tmp_path / name) in str(e.value)


def test_the_split_of_a_patient_does_not_depend_on_the_part(tmp_path, monkeypatch):
    monkeypatch.setattr(swec, "PART_S", 10)
    patient(tmp_path)
    groups = {r.split_group for r in load_all("swec", tmp_path).values()}
    assert len(groups) == 1 and split_of(groups.pop()) in ("train", "val", "test")
