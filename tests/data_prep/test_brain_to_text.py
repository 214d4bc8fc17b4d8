"""Brain-to-Text '24 and '25 on small fake releases: binned features, sentences, phonemes."""

import h5py
import numpy as np
import pytest
import scipy.io

from brainfm.data.splits import assert_disjoint
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.signals.phonemes import phoneme_ids
from brainfm.signals.preprocess import Recipe
from brainfm.types import Kind
from data_prep.cli import main
from data_prep.datasets import get_dataset

RECIPE = Recipe(sfreq=50.0, highpass_hz=None, lowpass_hz=None, notch=False)
PHONES = ["HH", "AY", "SIL", "Y", "UW", "SIL"]


def load_all(name, root):
    dataset = get_dataset(name)
    dataset.fetch(root, print)
    return {j.name: dataset.load(j, RECIPE) for j in dataset.jobs(root)}


def write_25(root, part="train", day="t15.2023.08.11", texts=("Hi you.", "Hi."), **odd):
    path = root / "brain_to_text_25" / "hdf5_data_final" / day / f"data_{part}.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(part))
    with h5py.File(path, "w") as f:
        for i, text in enumerate(texts):
            g = f.create_group(f"trial_{i:04d}")
            g["input_features"] = rng.standard_normal((100 + 50 * i, 512)).astype("f4")
            g.attrs.update(n_time_steps=100 + 50 * i, session=day, block_num=2, trial_num=i)
            if part != "test":
                ids = np.zeros(500, "i4")
                ids[: len(PHONES)] = phoneme_ids(PHONES)
                g["seq_class_ids"] = ids
                g.attrs.update(seq_len=len(PHONES), sentence_label=text)
        if odd:
            g = f["trial_0001"]
            for key, value in odd.items():
                if value is None:
                    del g.attrs[key]
                elif key in g:
                    g[key][...] = value
                else:
                    g.attrs[key] = value
    return path


def test_a_session_of_25_is_its_sentences_end_to_end(tmp_path):
    path = write_25(tmp_path)
    r = load_all("brain_to_text_25", tmp_path)["t15.2023.08.11_train"]
    assert r.intervals_s == [(0, 2), (2, 5)] and r.signal.shape == (250, 512)
    with h5py.File(path) as f:
        np.testing.assert_allclose(r.signal[100:], f["trial_0001/input_features"][()], atol=1e-6)
    said = [e for e in r.events if e.label.startswith("sentence:")]
    assert [e.label for e in said] == ["sentence:Hi you.", "sentence:Hi."]
    assert [(e.onset_s, e.duration_s) for e in said] == [(0, 2), (2, 3)]
    spoken = [e.label for e in r.events if e.label.startswith("phoneme:") and e.onset_s < 2]
    assert spoken == [f"phoneme:{p}" for p in PHONES]
    assert set(r.channels.unit) == {"au"} and set(r.channels.kind.tolist()) == {Kind.ECOG}
    assert r.channels.name[0] == "6v_ventral-01-crossings"
    assert r.channels.name[-1] == "6v_dorsal-64-power"
    assert any("their order is published" in n for n in r.notes)


def test_splits_of_25_are_the_published_files_and_the_test_says_nothing(tmp_path):
    for part in ("train", "val", "test"):
        write_25(tmp_path, part)
        write_25(tmp_path, part, "t15.2023.08.13", texts=("Hi you.", "Good."))
    found = load_all("brain_to_text_25", tmp_path)
    assert {n: r.split for n, r in found.items()} == {
        f"t15.2023.08.{day}_{part}": part for day in (11, 13) for part in ("train", "val", "test")
    }
    assert len({r.split_group for r in found.values()}) == 6
    assert found["t15.2023.08.11_test"].events == []


def test_a_store_of_25_keeps_its_splits_apart(tmp_path):
    for part in ("train", "val", "test"):
        write_25(tmp_path, part)
    run = ["run", "--dataset", "brain_to_text_25", "--data-root", str(tmp_path), "--jobs", "0"]
    assert main([*run, "--sfreq", "50", "--highpass", "none"]) == 0
    table = Store(tmp_path / "store").recordings
    assert sorted(table["split"]) == ["test", "train", "val"]
    assert_disjoint(table)


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        ({"sentence_label": " "}, "trial_0001: has .* no sentence|no sentence or no phonemes"),
        ({"seq_len": 7}, "announces 7 phonemes"),
        ({"seq_len": 3}, "announces 3 phonemes"),
        ({"n_time_steps": 151}, "announces 151 bins"),
        ({"n_time_steps": 4}, "6 phonemes in 4 bins"),
        ({"session": "t15.2024.01.01"}, "is of session 't15.2024.01.01'"),
        ({"input_features": np.nan}, "not finite"),
        ({"seq_class_ids": 41, "seq_len": 500}, "500 phonemes in 150 bins"),
        ({"n_time_steps": None}, "no file of Brain-to-Text '25"),
    ],
)
def test_trials_of_25_that_do_not_fit_are_refused(tmp_path, odd, sentence):
    path = write_25(tmp_path, **odd)
    with pytest.raises(DataError, match=sentence) as e:
        load_all("brain_to_text_25", tmp_path)
    assert str(path) in str(e.value)


def test_an_unknown_phoneme_of_25_is_named(tmp_path):
    ids = np.zeros(500, int)
    ids[:6] = [1, 2, 41, 3, 4, 40]
    write_25(tmp_path, seq_class_ids=ids)
    with pytest.raises(DataError, match="trial_0001: phoneme 3: 41 is no phoneme"):
        load_all("brain_to_text_25", tmp_path)


def test_a_truncated_file_of_25_is_named(tmp_path):
    path = write_25(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"data_train\.hdf5: no file of Brain-to-Text"):
        load_all("brain_to_text_25", tmp_path)


def write_24(root, folder="train", session="t12.2022.04.28", texts=("Hi.", "You.", "I do."), **odd):
    path = root / "brain_to_text_24" / "competitionData" / folder / f"{session}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(folder))
    content = {"sentenceText": np.array(texts), "blockIdx": np.array([[1], [1], [2]])}
    for k, name in enumerate(("tx1", "spikePow")):
        cell = np.empty((1, len(texts)), object)
        for i in range(len(texts)):
            # Blocks differ in level, as days of an implant do.
            cell[0, i] = 10.0 * k + 5 * (i == 2) + rng.poisson(3, (60 + 10 * i, 256)).astype(float)
        content[name] = cell
    scipy.io.savemat(path, content | odd)
    return path


def test_a_session_of_24_is_scaled_block_by_block(tmp_path):
    write_24(tmp_path)
    r = load_all("brain_to_text_24", tmp_path)["t12.2022.04.28_train"]
    assert [round(50 * (b - a)) for a, b in r.intervals_s] == [60, 70, 80]
    first, second = r.signal[:130], r.signal[130:]
    for block in (first, second):
        np.testing.assert_allclose(block.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(block.std(0), 1, atol=1e-3)
    assert [e.label for e in r.events] == ["sentence:Hi.", "sentence:You.", "sentence:I do."]
    assert len(r.channels) == 512 and r.channels.name[127:129] == ("6v-128-tx1", "44-129-tx1")
    assert r.channels.name[256] == "6v-001-spikePow"


def test_splits_of_24_are_the_published_folders(tmp_path):
    for folder in ("train", "test"):
        write_24(tmp_path, folder)
    write_24(tmp_path, "competitionHoldOut", texts=("", "", ""))
    found = load_all("brain_to_text_24", tmp_path)
    assert {r.split: len(r.events) for r in found.values()} == {"train": 3, "val": 3, "test": 0}
    assert len({r.split_group for r in found.values()}) == 3


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        ({"texts": ("Hi.", " ", "You.")}, "trial 2 has no sentence"),
        ({"sentenceText": np.array(["Hi.", "You."])}, "2 sentences for 3, 3, 3 trials"),
        ({"tx1": np.zeros((1, 3))}, r"trial 1 has features of shape"),
        ({"blockIdx": np.zeros((2, 1))}, "3 sentences for 3, 3, 2 trials"),
    ],
)
def test_sessions_of_24_that_do_not_fit_are_refused(tmp_path, odd, sentence):
    path = write_24(tmp_path, **odd)
    with pytest.raises(DataError, match=sentence) as e:
        load_all("brain_to_text_24", tmp_path)
    assert str(path) in str(e.value)


def test_damaged_and_missing_files_of_24_are_named(tmp_path):
    path = write_24(tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="no file of Brain-to-Text '24"):
        load_all("brain_to_text_24", tmp_path)
    for name in ("brain_to_text_24", "brain_to_text_25"):
        with pytest.raises(DataError, match="brainfm does not download it.*dryad"):
            get_dataset(name).fetch(tmp_path / "none", print)
