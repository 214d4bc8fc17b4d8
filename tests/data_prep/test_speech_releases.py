"""Seven published sets of speech, from a fake release to a store, and their files cut anywhere."""

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from test_brain_to_text import PHONES, write_24, write_25
from test_duin import NAMES
from test_speech_meg import ARMENI, MASC, SCANDAL, STORY, bids, libri
from treebank_helpers import trust, words_of, write_trial, write_wheel

from brainfm.data.speech import SpeechTargets, SpeechWindows, cut_speech
from brainfm.data.splits import assert_disjoint
from brainfm.data.store import Store
from brainfm.data.transcript import transcript_of
from brainfm.errors import DataError
from brainfm.signals.phonemes import phoneme_ids
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import WindowRef
from data_prep.cli import main
from data_prep.datasets import get_dataset
from data_prep.datasets.duin import divide

RATE = {"brain_to_text_24": "50", "brain_to_text_25": "50"}
SETS = {
    "duin": {"word"},
    "brain_treebank": {"word", "sentence", "no_speech"},
    "libribrain": {"word", "phoneme", "sentence"},
    "gwilliams2022": {"word", "phoneme", "sentence"},
    "armeni2022": {"word", "phoneme"},
    "brain_to_text_24": {"sentence"},
    "brain_to_text_25": {"sentence", "phoneme"},
}
"""Name and the kinds of events that a recording of it must have."""

WINDOWS = {
    # The whole trial, from half a second before the word is shown.
    "duin": SpeechTargets(unit="word", start_s=-0.5, stop_s=2.5, vocabulary=["w0", "w1"]),
    "brain_treebank": SpeechTargets(unit="word", vocabulary=["none", "it"]),
    "libribrain": SpeechTargets(unit="sentence", phonemes=True),
    "gwilliams2022": SpeechTargets(unit="word", phonemes=True),
    "armeni2022": SpeechTargets(unit="word", phonemes=True),
    # A trial ends with its sentence: nothing is added, nothing rounded beyond a bin.
    "brain_to_text_24": SpeechTargets(unit="sentence", stop_s=0.0, round_s=0.02),
    "brain_to_text_25": SpeechTargets(
        unit="sentence", stop_s=0.0, round_s=0.02, phonemes=True, silence=True
    ),
}


def write_duin(root):
    rng = np.random.default_rng(0)
    folder = root / "duin/001/word-recitation/run1/dataset.bipolar.default.unaligned"
    folder.mkdir(parents=True)
    shape = (len(NAMES), 3000)
    trials = [{"name": f"w{i % 2}", "data_s": rng.standard_normal(shape)} for i in range(20)]
    (folder / "data").write_bytes(pickle.dumps(trials))
    (folder / "info").write_bytes(pickle.dumps({"ch_names": NAMES}))


def write_treebank(root, monkeypatch):
    words, features = words_of()
    trust(monkeypatch, write_wheel(root, words))
    write_trial(root, 2, 4, features=features)
    write_trial(root, 3, 0, features=features)
    get_dataset("brain_treebank").fetch(root, str)


def write(name, root, monkeypatch):
    if name == "duin":
        write_duin(root)
    elif name == "brain_treebank":
        write_treebank(root, monkeypatch)
    elif name == "libribrain":
        for ses, run in (("1", "1"), ("11", "2"), ("12", "2")):
            libri(root, ses, run=run)
    elif name == "gwilliams2022":
        for i in range(4):
            bids(root, name, f"sub-0{i + 1}_ses-0_task-{i}", MASC, STORY, seed=i)
    elif name == "armeni2022":
        for i in range(8, 11):
            bids(root, name, f"sub-001_ses-{i:03d}_task-compr", ARMENI, SCANDAL, seed=i)
    elif name == "brain_to_text_24":
        write_24(root, "train")
        write_24(root, "test")
    else:
        write_25(root, "train")
        write_25(root, "val")


@pytest.mark.parametrize("name", SETS)
def test_a_set_goes_into_a_store_with_what_was_said_and_disjoint_splits(
    tmp_path, monkeypatch, name
):
    write(name, tmp_path, monkeypatch)
    run = ["run", "--dataset", name, "--data-root", str(tmp_path), "--jobs", "0"]
    assert main([*run, "--sfreq", RATE.get(name, "100"), "--highpass", "none"]) == 0
    store = Store(tmp_path / "store")
    assert_disjoint(store.recordings)
    assert len(store) == len(get_dataset(name).jobs(tmp_path)) >= 2
    for row in range(len(store)):
        events = store.events(row)
        seconds = store.recordings["n_samples"][row] / store.recordings["sfreq"][row]
        assert {e.label.split(":")[0] for e in events} == SETS[name]
        assert transcript_of(events, seconds, name)
    windows_are_cut_around_what_was_said(name, store)


def windows_are_cut_around_what_was_said(name, store):
    targets = WINDOWS[name]
    index, dropped = cut_speech(store, store.recordings, targets, targets.vocabulary)
    assert len(index.segments) >= 2 and not dropped["past the edge of the recording"]
    windows = SpeechWindows(store, Preprocess(store.recipe), 1, targets, targets.vocabulary)
    s = index.segments[0]
    ref = WindowRef(int(s["recording"]), int(s["start"]), int(s["length"]))
    batch = windows[[ref]]
    assert batch.signal_BCT.shape[-1] == ref.length and batch.signal_BCT.isfinite().all()
    if name == "brain_to_text_25":
        assert batch.sequence_BL.tolist() == [phoneme_ids(PHONES)]
        assert len(index.segments) == 4
    if name == "duin":
        assert len(index.segments) == 20 and ref.length == 300


@pytest.mark.parametrize("name", SETS)
def test_a_file_cut_anywhere_is_refused_in_one_sentence_or_whole_enough(
    tmp_path, monkeypatch, name
):
    write(name, tmp_path, monkeypatch)
    dataset = get_dataset(name)
    recipe = Recipe(sfreq=50.0, highpass_hz=None, lowpass_hz=None, notch=False)
    draw = random.Random(name)
    files = sorted({Path(f) for job in dataset.jobs(tmp_path) for f in job.files})
    refused = 0
    for _ in range(8):
        path = draw.choice(files)
        whole = path.read_bytes()
        path.write_bytes(whole[: draw.randrange(len(whole))])
        try:
            for job in dataset.jobs(tmp_path):
                if str(path) in job.files:
                    dataset.load(job, recipe)
        except DataError as e:
            refused += 1
            assert len(str(e).splitlines()) == 1 and str(tmp_path) in str(e)
        path.write_bytes(whole)
    # A table of text can lose its last lines and still be one.
    assert refused >= 4


@pytest.mark.parametrize("name", SETS)
def test_facts_say_what_is_assumed_and_how_the_set_is_divided(name):
    facts = get_dataset(name).facts
    assert facts.nominal and all(len(text) > 20 for text in facts.nominal)
    assert facts.splits.startswith(("by ", "train, val and test", "as published"))


def test_trials_are_divided_the_same_way_every_time_and_for_each_person_anew():
    words = [f"w{i % 5}" for i in range(100)]
    first = divide("001", words)
    assert first == divide("001", words) != divide("002", words)
    assert [len(first[part]) for part in ("train", "val", "test")] == [80, 10, 10]
    assert sorted(i for rows in first.values() for i in rows) == list(range(100))
    for word in set(words):
        assert sum(words[i] == word for i in first["train"]) == 16
    # Too few repetitions leave nothing to train on.
    assert divide("001", ["a"])["train"] == []


def test_one_signal_under_two_sessions_is_found_by_its_samples(tmp_path, capsys):
    for stem in ("sub-001_ses-001_task-compr", "sub-002_ses-009_task-compr"):
        bids(tmp_path, "armeni2022", stem, ARMENI, SCANDAL, seed=1)
    run = ["run", "--dataset", "armeni2022", "--data-root", str(tmp_path), "--jobs", "0"]
    assert main([*run, "--highpass", "none"]) != 0
    assert "the same signal lies in" in capsys.readouterr().err
