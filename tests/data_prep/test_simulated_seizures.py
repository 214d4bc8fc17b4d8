"""The simulated data set: contacts from a table, patients split, recordings down the usual road."""

import numpy as np
import pytest

from brainfm.data.format import read_header
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Kind
from data_prep import download
from data_prep.datasets import get_dataset
from data_prep.datasets.simulated_seizures import (
    NEUROPROBE,
    TABLES,
    SimulatedSeizures,
    read_contacts,
    to_raw,
)
from data_prep.prepare import prepare_one

RECIPE = Recipe(sfreq=128.0, highpass_hz=0.5, lowpass_hz=40.0)
HEADER = "btbank_id,electrode_label,name,num,mni152_x,mni152_y,mni152_z\n"
SHORT = SimulatedSeizures(minutes=5.0, seed=1)


def write_table(path, n_shafts=4, per_shaft=10, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(n_shafts):
        tip, step = rng.uniform(-40, 40, 3), rng.normal(0, 3, 3)
        for k in range(per_shaft):
            x, y, z = tip + k * step
            rows.append(f"1,L{chr(65 + s)}{k + 1},L{chr(65 + s)},{k + 1},{x},{y},{z}\n")
    path.write_text(HEADER + "".join(rows))
    return path


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "contacts.csv")


def test_contacts_are_read_in_metres(table):
    contacts = read_contacts(str(table))
    assert contacts.name[:2] == ("LA1", "LA2") and contacts.pos_m.shape == (40, 3)
    assert 0.01 < np.abs(contacts.pos_m).max() < 0.12


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a,b\n1,2\n", "lacks the column 'electrode_label'"),
        (HEADER, "holds no contact"),
        (HEADER + "1,LA1,LA,1,2.0,,3.0\n", "line 2 holds no position"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, content, sentence):
    (tmp_path / "damaged.csv").write_text(content)
    with pytest.raises(DataError, match=sentence):
        read_contacts(str(tmp_path / "damaged.csv"))


@pytest.fixture
def fetched(tmp_path):
    folder = download.source_folder(NEUROPROBE, tmp_path)
    folder.mkdir(parents=True)
    sizes = {t: write_table(folder / t, seed=i).stat().st_size for i, t in enumerate(TABLES)}
    (folder / download.MANIFEST).write_text(str(sizes).replace("'", '"'))
    return tmp_path


def test_patients_and_implantations_are_in_one_split_each(fetched):
    jobs = get_dataset("simulated_seizures").jobs(fetched)
    assert len(jobs) == 72 and len({j.name for j in jobs}) == 72
    of = {s: [j for j in jobs if j.options["split"] == s] for s in ("train", "val", "test")}
    assert [len(j) for j in of.values()] == [32, 16, 24]
    # Even numbers wear caps: half of every split.
    assert all(2 * sum(j.options["number"] % 2 for j in js) == len(js) for js in of.values())
    files = [{f for j in js for f in j.files} for js in of.values()]
    assert sum(len(f) for f in files) == len(set.union(*files)) == len(TABLES)


def test_nothing_is_downloaded_twice(fetched):
    SHORT.fetch(fetched, lambda text: pytest.fail(f"tried to download: {text}"))


@pytest.mark.parametrize(("number", "kind", "frame"), [(1, "SEEG", "mni"), (2, "EEG", "head")])
def test_a_patient_goes_into_the_store(table, tmp_path, number, kind, frame):
    job = SHORT.job(number, "val", (str(table),))
    # `prepare_one` finds the data set by name; the options carry everything else.
    out = prepare_one(job, RECIPE, tmp_path / "store")
    assert out.status == "done", out.reason
    header = read_header(tmp_path / "store" / out.files[0])
    assert (header["dataset"], header["split"]) == ("simulated_seizures", "val")
    channels = header["channels"]
    assert channels.frame == frame and set(channels.kind) == {Kind[kind]}
    assert np.isfinite(channels.pos_m).all() and header["notes"][0].startswith("SIMULATED")
    assert "sz" in {event.label for event in header["events"]}


def test_simulated_signals_are_filtered_like_recorded_ones(table):
    recording = SHORT.load(SHORT.job(2, "train", (str(table),)), RECIPE)
    assert recording.sfreq == 128.0 and recording.duration_s == pytest.approx(300)
    power = np.abs(np.fft.rfft(recording.signal, axis=0)) ** 2
    hz = np.fft.rfftfreq(len(recording.signal), 1 / 128)
    assert power[hz > 55].sum() < 1e-3 * power.sum()
    share = sum(e.duration_s for e in recording.events if e.label == "sz") / 300
    assert 0.01 <= share <= 0.05


def test_the_raw_object_keeps_places_kinds_and_events(table):
    from brainfm.data.seizure_patients import seizure_patient

    made = seizure_patient(1, 1, minutes=5.0, sfreq=128.0, contacts=[read_contacts(str(table))])
    raw = to_raw(made)
    assert set(raw.get_channel_types()) == {"seeg"} and raw.ch_names == list(made.channels.name)
    np.testing.assert_allclose([c["loc"][:3] for c in raw.info["chs"]], made.channels.pos_m)
    assert len(raw.annotations) == len(made.events)
    assert set(made.channels.kind) == {Kind.SEEG}
