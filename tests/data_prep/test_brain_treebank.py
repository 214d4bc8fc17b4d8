"""Brain Treebank on a small fake release with a fake wheel of neuroprobe."""

import numpy as np
import pytest
from treebank_helpers import trust, words_of, write_trial, write_wheel

import data_prep.datasets.brain_treebank as module
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Kind
from data_prep.datasets import get_dataset
from data_prep.datasets.brain_treebank import cut_points, group_of

UNTOUCHED = Recipe(sfreq=2048.0, highpass_hz=None, lowpass_hz=None, notch=False)


@pytest.fixture
def root(tmp_path, monkeypatch):
    words, _ = words_of()
    trust(monkeypatch, write_wheel(tmp_path, words))
    return tmp_path


def load_all(root):
    dataset = get_dataset("brain_treebank")
    dataset.fetch(root, print)
    return [dataset.load(j, UNTOUCHED) for j in dataset.jobs(root)]


def test_a_trial_has_its_good_contacts_in_mni_space_and_its_words(root):
    words, features = words_of()
    _, x_CT = write_trial(root, features=features)
    (r,) = load_all(root)
    assert r.channels.name == ("T1a1", "T1a3", "F2b1") and r.channels.frame == "mni"
    assert set(r.channels.kind.tolist()) == {Kind.SEEG}
    np.testing.assert_allclose(r.channels.pos_m[0], (-0.05, -0.02, 0.005), atol=1e-6)
    assert np.isnan(r.channels.pos_m[2]).all()
    np.testing.assert_allclose(r.signal.T, x_CT[[0, 2, 4]] * 1e-6, atol=1e-10)
    spoken = [e for e in r.events if e.label.startswith("word:")]
    # "None" and "null" are words, not missing values.
    assert [e.label for e in spoken[:4]] == ["word:None", "word:of", "word:it", "word:null"]
    np.testing.assert_allclose([e.onset_s for e in spoken], words["est_idx"] / 2048)
    said = [e for e in r.events if e.label.startswith("sentence:")]
    assert len(said) == 10 and {e.label for e in said} == {"sentence:None of it null"}
    assert [e.onset_s for e in r.events if e.label == "no_speech"] == [0, 0.5, 1, 38, 38.5, 39]


def test_a_trial_is_cut_between_sentences_and_parts_add_up(root, monkeypatch):
    monkeypatch.setattr(module, "PART_S", 15.0)
    words, features = words_of()
    _, x_CT = write_trial(root, features=features)
    parts = load_all(root)
    assert len(parts) >= 2 and len({r.split_group for r in parts}) == 1
    whole = np.concatenate([r.signal for r in parts])
    np.testing.assert_allclose(whole.T, x_CT[[0, 2, 4]] * 1e-6, atol=1e-10)
    at, onsets, n_sentences = 0.0, [], 0
    for r in parts:
        onsets += [at + e.onset_s for e in r.events if e.label.startswith("word:")]
        n_sentences += sum(e.label == "sentence:None of it null" for e in r.events)
        at += r.duration_s
    np.testing.assert_allclose(onsets, words["est_idx"] / 2048, atol=1e-6)
    assert n_sentences == 10


def test_cuts_wait_for_the_end_of_a_sentence(monkeypatch):
    monkeypatch.setattr(module, "PART_S", 10.0)
    assert cut_points(25, [(8, 12), (12.5, 14)]) == [0, 12, 22, 25]
    assert cut_points(20.5, []) == [0, 10, 20.5]


def test_people_who_saw_one_movie_are_one_group():
    assert group_of(1) == group_of(5) == "sub01+05"
    assert group_of(10) == group_of(4) == "sub03+04+06+07+10"
    assert group_of(2) == "sub02"


def test_without_features_there_are_words_but_no_sentences(root):
    write_trial(root)
    (r,) = load_all(root)
    labels = {e.label.split(":")[0] for e in r.events}
    assert labels == {"word", "no_speech"}
    assert any("features.csv is missing" in n for n in r.notes)


def test_words_that_end_before_they_begin_are_counted(tmp_path, monkeypatch):
    words, _ = words_of()
    words.loc[5, "est_end_idx"] = words.loc[5, "est_idx"] - 10
    trust(monkeypatch, write_wheel(tmp_path, words))
    write_trial(tmp_path)
    (r,) = load_all(tmp_path)
    assert sum(e.label.startswith("word:") for e in r.events) == 39
    assert any("1 words that end before they begin" in n for n in r.notes)


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        ({"labels": ("a", "b")}, "holds 5 electrodes for 2 labels"),
        ({"labels": ("T1a2", "DC1", "DC2", "DC3", "TRIG")}, "none of its 5 electrodes is good"),
        ({"labels": ("A1", "A1", "b", "c", "d")}, "electrode 'A1' appears twice"),
        ({"electrode_2": np.zeros(100, "f4")}, "electrode_2 has 100 of 81920 samples"),
    ],
)
def test_electrodes_that_do_not_fit_are_refused(root, odd, sentence):
    path, _ = write_trial(root, **odd)
    with pytest.raises(DataError, match=sentence) as e:
        load_all(root)
    assert str(path) in str(e.value) and len(str(e.value).splitlines()) == 1


def test_a_damaged_trial_does_not_hide_the_others(root):
    write_trial(root)
    path, _ = write_trial(root, 2, 4)
    path.write_bytes(path.read_bytes()[:3000])
    dataset = get_dataset("brain_treebank")
    dataset.fetch(root, print)
    good, bad = dataset.jobs(root)
    assert dataset.load(good, UNTOUCHED).subject == "sub01"
    with pytest.raises(DataError, match=r"sub_2_trial004\.h5: no trial of Brain Treebank"):
        dataset.load(bad, UNTOUCHED)


def test_words_of_another_movie_and_missing_files_are_refused(root):
    _, features = words_of(n=20)
    path, _ = write_trial(root, features=features)
    with pytest.raises(DataError, match=r"features\.csv: has no row 23.*another movie"):
        load_all(root)
    (path.parent / "transcripts" / "the-martian" / "features.csv").unlink()
    (path.parent / "corrupted_elec.json").unlink()
    with pytest.raises(DataError, match=r"corrupted_elec\.json: missing"):
        load_all(root)
    with pytest.raises(DataError, match="brainfm does not download it.*braintreebank"):
        get_dataset("brain_treebank").fetch(root / "none", print)


def test_a_transcript_longer_than_its_recording_is_cut_with_a_count(root):
    write_trial(root, seconds=20)
    (r,) = load_all(root)
    assert all(e.onset_s + e.duration_s <= 20.1 for e in r.events)
