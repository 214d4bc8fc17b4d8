"""Windows around words, sentences and segments, on recordings whose every phoneme is known."""

import numpy as np
import pytest
import torch
from spoken import RECIPE, SAYS, row_of, spoken_recording, spoken_store

from brainfm.data.module import BrainDataModule
from brainfm.data.seizures import SeizureSampling
from brainfm.data.speech import (
    SpeechTargets,
    SpeechWindows,
    cut_speech,
    frequent_words,
    padded,
    sentences_judged_on,
    spoken,
    transcript,
    utterances,
)
from brainfm.data.store import Store, build_tables, write_recording
from brainfm.data.synthetic import synthetic_recording
from brainfm.errors import DataError
from brainfm.signals.phonemes import phoneme_ids
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Event, WindowRef

NO_LEAK = {**SAYS, "val": ["the dog ran"], "test": ["a cat sat home"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return spoken_store(tmp_path_factory.mktemp("store"))


def cut(store, split, targets, **more):
    rows = store.recordings[store.recordings["split"] == split]
    index, dropped = cut_speech(store, rows, targets, **more)
    return index.refs(np.arange(len(index))), dropped


def windows(store, targets, vocabulary=None, patch=None):
    return SpeechWindows(store, Preprocess(RECIPE), patch, targets, vocabulary)


def test_a_words_window_lies_around_its_onset(store):
    refs, dropped = cut(store, "train", SpeechTargets(start_s=-0.2, stop_s=0.8))
    row = row_of(store, "train")
    # "the cat sat" begins at 1.0 s; "the" lasts 0.2 s and "cat" 0.3 s.
    assert refs[:3] == [WindowRef(row, s, 100) for s in (80, 100, 130)]
    assert len(refs) == 7 and not dropped


def test_classes_are_places_in_the_vocabulary_and_other_words_are_counted(store):
    vocabulary = ["Cat", "dog"]
    targets = SpeechTargets(vocabulary=vocabulary)
    refs, dropped = cut(store, "train", targets, vocabulary=vocabulary)
    batch = windows(store, targets, vocabulary)[refs]
    assert batch.target_B.tolist() == [0, 1] and batch.target_B.dtype == torch.int64
    assert dropped == {"word outside the vocabulary": 5}


def test_a_window_of_a_word_without_class_is_refused(store):
    refs, _ = cut(store, "train", SpeechTargets())
    with pytest.raises(DataError, match=r"'the' at 1\.00 s is none of the 2 words"):
        windows(store, SpeechTargets(), ["cat", "dog"])[refs[:1]]


def test_the_vocabulary_is_counted_on_the_rows_given_alone(store):
    train = store.recordings[store.recordings["split"] == "train"]
    assert frequent_words(store, train, 3) == ["a", "cat", "dog"]
    both = store.recordings[store.recordings["split"] != "test"]
    assert frequent_words(store, both, 3) == ["dog", "sat", "the"]
    with pytest.raises(DataError, match="hold 7 different words, not the 61"):
        frequent_words(store, train, 61)


def test_words_carry_their_own_phonemes(store):
    targets = SpeechTargets(phonemes=True)
    refs, _ = cut(store, "train", targets)
    rows = windows(store, targets)[refs[:4]].sequence_BL
    expected = [phoneme_ids(s.split()) for s in ("DH AH", "K AE T", "S AE T", "AH")]
    assert rows.tolist() == [ids + [-1] * (3 - len(ids)) for ids in expected]


def test_phonemes_carry_their_times_in_the_window(store):
    targets = SpeechTargets(start_s=-0.1, phonemes=True)
    refs, _ = cut(store, "train", targets)
    found = windows(store, targets)[refs[:2]]
    every = transcript(store, row_of(store, "train")).phonemes
    said = [e for e in every if e.label != "SIL"]
    for b, (first, many) in enumerate([(0, 2), (2, 3)]):
        start_s = refs[b].start / 100
        for i, e in enumerate(said[first : first + many]):
            expected = torch.tensor([e.onset_s - start_s, e.onset_s + e.duration_s - start_s])
            torch.testing.assert_close(found.span_BL2[b, i], expected)
    assert found.span_BL2[0, 2].isnan().all()
    assert found.span_BL2[0, 0, 0] == pytest.approx(0.1)


def test_a_sentence_is_whole_and_its_window_a_round_number_of_seconds(store):
    targets = SpeechTargets(unit="sentence", start_s=-0.1, stop_s=0.1, phonemes=True)
    refs, _ = cut(store, "train", targets)
    row = row_of(store, "train")
    # Sentences from 1.0 to 1.8 s and from 2.8 to 3.8 s, and 0.2 s around them.
    assert refs == [WindowRef(row, 90, 100), WindowRef(row, 270, 200)]
    said = windows(store, targets)
    assert said.utterance(refs[1]).text == "a dog ran home"
    ids = phoneme_ids("DH AH K AE T S AE T".split())
    assert said[refs[:1]].sequence_BL.tolist() == [ids]


def test_silence_is_a_symbol_where_a_task_wants_it(store):
    found = {}
    for silence in (False, True):
        targets = SpeechTargets(unit="segment", segment_s=1.5, phonemes=True, silence=silence)
        said = windows(store, targets)
        refs = [u.ref for u in utterances(store, row_of(store, "train"), targets)]
        found[silence] = said[refs[:1]].sequence_BL[0].tolist()
    # From 1.0 to 2.5 s: the sentence, and a silence whose middle is at 2.3 s.
    assert found[True] == [*found[False], 40] and len(found[False]) == 8


def test_a_sentence_is_not_cut_for_the_sake_of_whole_steps(store):
    targets = SpeechTargets(unit="sentence", stop_s=0.0, round_s=0.1)
    for patch, length in ((None, 80), (30, 90), (50, 100)):
        found = utterances(store, row_of(store, "train"), targets, patch)
        assert found[0].ref.length == length
    words = utterances(store, row_of(store, "train"), SpeechTargets(stop_s=0.7), 30)
    assert words[0].ref.length == 60


def test_long_sentences_and_windows_past_the_edge_are_counted(store):
    targets = SpeechTargets(unit="sentence", stop_s=0.2, longest_s=1.5)
    refs, dropped = cut(store, "train", targets)
    assert len(refs) == 1 and dropped == {"sentence too long": 1}
    refs, dropped = cut(store, "train", SpeechTargets(stop_s=2.6))
    # The recording lasts 6 s; the words of the second sentence begin at 2.8 to 3.5 s.
    assert dropped == {"past the edge of the recording": 1} and len(refs) == 6


def test_segments_follow_each_other_and_half_of_each_is_speech(store):
    targets = SpeechTargets(unit="segment", segment_s=0.5)
    refs, _ = cut(store, "train", targets)
    assert [r.start for r in refs] == [100, 150, 280, 330]
    assert {r.length for r in refs} == {50}
    said = windows(store, targets)
    assert [said.utterance(r).text for r in refs] == ["the cat", "sat", "a dog", "ran home"]
    more, _ = cut(store, "train", SpeechTargets(unit="segment", segment_s=0.5, stride_s=0.25))
    assert len(more) > len(refs) and {r.start for r in refs} <= {r.start for r in more}


def test_windows_stay_inside_intervals(tmp_path):
    recording = spoken_recording(SAYS["train"])
    recording.intervals_s = [(0.0, 2.0), (2.0, 6.0)]
    write_recording(recording, tmp_path / "spoken" / "x.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    store = Store(tmp_path)
    kept = utterances(store, 0, SpeechTargets(stop_s=0.6))
    # "sat" begins at 1.5 s: its window would cross from one stretch into the next.
    assert [u.text for u in kept] == ["the", "cat", "a", "dog", "ran", "home"]


def test_a_training_window_that_touches_a_sentence_of_another_split_is_dropped(tmp_path):
    leaking = {**SAYS, "val": ["a dog ran home", "the dog sat"], "test": ["The cat sat."]}
    store = spoken_store(tmp_path, leaking)
    rows = store.recordings
    assert sentences_judged_on(store, rows, "train") == {
        "a dog ran home",
        "the dog sat",
        "the cat sat",
    }
    assert sentences_judged_on(store, rows, "val") == {"the cat sat"}
    assert sentences_judged_on(store, rows, "test") == set()
    elsewhere = sentences_judged_on(store, rows, "train")
    refs, dropped = cut(store, "train", SpeechTargets(), elsewhere=elsewhere)
    assert refs == [] and dropped == {"sentence of another split": 7}
    refs, dropped = cut(store, "val", SpeechTargets(), elsewhere={"the cat sat"})
    assert len(refs) == 7 and not dropped


def test_a_window_is_dropped_for_its_neighbours_too(store):
    # The window of "sat" reaches 1.5 s on, into "a dog ran home".
    refs, dropped = cut(store, "train", SpeechTargets(stop_s=1.5), elsewhere={"a dog ran home"})
    assert [r.start for r in refs] == [100, 120] and dropped["sentence of another split"] == 5


def test_batches_carry_what_was_heard_at_their_own_place(store):
    targets = SpeechTargets(start_s=-0.5, stop_s=0.5, stimulus="clock", frames_hz=10.0)
    refs, _ = cut(store, "train", targets)
    heard = windows(store, targets)[refs[:2]].stimulus_BNF
    assert heard.shape == (2, 10, 2) and heard.dtype == torch.float32
    expected = 0.55 + 0.1 * np.arange(10)
    np.testing.assert_allclose(heard[0, :, 0], expected, atol=1e-4)
    np.testing.assert_allclose(heard[1, :, 0], expected + 0.2, atol=1e-4)
    plain = SpeechTargets(start_s=-0.5, stop_s=0.5, stimulus="clock")
    assert windows(store, plain)[refs[:2]].stimulus_BNF.shape == (2, 50, 2)


def test_features_of_more_recordings_than_may_be_open_are_read_all_the_same(store, monkeypatch):
    targets = SpeechTargets(stimulus="clock")
    data = windows(store, targets)
    refs = [cut(store, split, targets)[0][0] for split in ("train", "val", "train")]
    wide = [data[[ref]].stimulus_BNF for ref in refs]
    monkeypatch.setattr("brainfm.data.speech.MAX_OPEN", 1)
    few = windows(store, targets)
    for ref, expected in zip(refs, wide, strict=True):
        assert torch.equal(few[[ref]].stimulus_BNF, expected)
        assert len(few._heard) == 1


def test_a_feature_that_is_not_there_is_named_with_those_that_are(store):
    targets = SpeechTargets(stimulus="mel")
    refs, _ = cut(store, "train", targets)
    with pytest.raises(DataError, match=r"has no stimulus 'mel' \(it has clock\)"):
        windows(store, targets)[refs[:1]]


def test_more_frames_than_are_stored_are_refused(store):
    targets = SpeechTargets(stimulus="clock", frames_hz=80.0)
    refs, _ = cut(store, "train", targets)
    with pytest.raises(DataError, match=r"has 50 frames a second, frames_hz asks for 80"):
        windows(store, targets)[refs[:1]]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"rate_hz": 25.0}, r"has 2 features at 25 Hz, that of .*train\.safetensors 2 at 50 Hz"),
        ({"n_features": 3}, r"has 3 features at 50 Hz, that of .*train\.safetensors 2 at 50 Hz"),
    ],
)
def test_features_of_another_kind_in_another_recording_are_refused(tmp_path, more, sentence):
    spoken_store(tmp_path, {"train": SAYS["train"]})
    store = spoken_store(tmp_path, {"val": NO_LEAK["val"]}, **more)
    targets = SpeechTargets(stimulus="clock")
    said = windows(store, targets)
    said[[utterances(store, row_of(store, "train"), targets)[0].ref]]
    with pytest.raises(DataError, match=sentence):
        said[[utterances(store, row_of(store, "val"), targets)[0].ref]]


def test_words_without_phonemes_are_refused_where_phonemes_are_asked_for(tmp_path):
    recording = spoken_recording(SAYS["train"])
    recording.events = [e for e in recording.events if not e.label.startswith("phoneme:")]
    write_recording(recording, tmp_path / "spoken" / "x.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    store = Store(tmp_path)
    ref = utterances(store, 0, SpeechTargets())[0].ref
    with pytest.raises(DataError, match=r"x\.safetensors: has words but no event 'phoneme:"):
        windows(store, SpeechTargets(phonemes=True))[[ref]]


def test_a_window_of_other_targets_is_refused(store):
    with pytest.raises(DataError, match="no word has its window at samples 7 to 107"):
        windows(store, SpeechTargets()).utterance(WindowRef(0, 7, 100))


def test_recordings_without_speech_are_left_out_and_none_at_all_is_refused(tmp_path, store):
    assert len(spoken(store, store.recordings)) == 3
    silent = synthetic_recording("SEEG", 10, 4, 9, sfreq=100.0, subject="09", split="train")
    write_recording(silent, tmp_path / "a" / "x.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    quiet = Store(tmp_path)
    with pytest.raises(DataError, match=r"has no event 'word:.*', like all 1"):
        spoken(quiet, quiet.recordings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"unit": "syllable"}, "unit is 'syllable'"),
        ({"start_s": 1.0, "stop_s": 1.0}, "window from 1 to 1 s is empty"),
        ({"unit": "segment", "segment_s": 0.0}, r"segment_s is 0\.0"),
        ({"unit": "sentence", "vocabulary": ["a"]}, "a sentence has no class"),
        ({"vocabulary": ["cat", "Cat."]}, "holds 'cat' twice"),
        ({"vocabulary": ["cat", " "]}, "no word"),
        ({"vocabulary": ["ice cream"]}, "no word"),
        ({"vocabulary": []}, "empty"),
        ({"vocabulary": 0}, "vocabulary is 0; give a number of words from 1"),
        ({"start_s": float("nan")}, "start_s is nan and stop_s 1.0; give seconds"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        SpeechTargets(**settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"segment_s": 1e-9}, r"segment_s is 1e-09, less than 0\.5 s, .*; raise segment_s"),
        ({"stride_s": 1e-9}, r"stride_s is 1e-09, less than 0\.01 s, .*; raise stride_s"),
    ],
)
def test_segments_without_end_are_refused(store, settings, sentence):
    with pytest.raises(DataError, match=sentence):
        cut(store, "train", SpeechTargets(unit="segment", **settings), patch=50)


def test_a_sentence_that_would_end_before_it_begins_is_counted(store):
    refs, dropped = cut(store, "train", SpeechTargets(unit="sentence", start_s=50.0))
    assert not refs and dropped == {"window without a step": 2}


def test_sequences_are_padded_behind_their_end():
    assert padded([[1, 2], [], [3]]).tolist() == [[1, 2], [-1, -1], [3, -1]]
    assert padded([[], []]).tolist() == [[-1], [-1]]


def module(store, **more):
    return BrainDataModule(str(store.root), patch_s=0.5, **more)


def test_the_data_module_serves_speech_with_classes_of_train(store):
    data = module(store, speech=SpeechTargets(vocabulary=3, phonemes=True, stimulus="clock"))
    data.setup("fit")
    assert data.vocabulary == ["a", "cat", "dog"]
    batches = list(data.train_dataloader())
    # "the dog sat" and "a cat ran home" are in other splits; train says neither.
    assert sum(len(b) for b in batches) == 3
    batch = batches[0]
    assert batch.x_BCWP.shape[2:] == (2, 50)
    assert batch.target_B.max() < 3 and batch.sequence_BL is not None
    (loader,) = [data.val_dataloader()]
    assert sum(len(b) for b in loader) == 1


def test_the_data_module_drops_and_logs_sentences_of_other_splits(tmp_path, caplog):
    says = {**SAYS, "test": ["the cat sat"]}
    store = spoken_store(tmp_path, says)
    data = module(store, speech=SpeechTargets())
    with caplog.at_level("INFO"):
        data.setup("fit")
    assert sum(len(b) for b in data.train_dataloader()) == 4
    assert "train: 3 words left out: sentence of another split" in caplog.text


def test_training_without_any_word_left_says_so(tmp_path):
    store = spoken_store(tmp_path, {**SAYS, "test": SAYS["train"]})
    with pytest.raises(DataError, match="leaves no word to train on: 7 are left out"):
        module(store, speech=SpeechTargets()).setup("fit")


def test_speech_and_seizures_exclude_each_other(store):
    with pytest.raises(DataError, match="data.seizures, data.speech.*more than one is set"):
        module(store, speech=SpeechTargets(), seizures=SeizureSampling())


def test_windows_of_one_layout_and_length_share_batches_and_every_word_is_seen_once(store):
    data = module(store, speech=SpeechTargets())
    data.setup("fit")
    refs = [r for b in data.train_dataloader() for r in b.refs]
    assert sorted(refs) == sorted(cut(store, "train", SpeechTargets(), patch=50)[0])


def test_overlapping_labels_of_other_kinds_do_not_disturb(tmp_path):
    recording = spoken_recording(SAYS["train"])
    recording.events = sorted([*recording.events, Event(1.05, 2.0, "button")])
    write_recording(recording, tmp_path / "spoken" / "x.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    assert len(utterances(Store(tmp_path), 0, SpeechTargets())) == 7


@pytest.mark.parametrize(
    ("targets", "field"),
    [
        (SpeechTargets(vocabulary=61, phonemes=True), "target_B"),
        (SpeechTargets(unit="sentence", stop_s=0.5, phonemes=True), "sequence_BL"),
        (SpeechTargets(unit="segment", stimulus="speech_embedding"), "stimulus_BNF"),
    ],
)
def test_a_speech_run_can_be_tried_without_data(targets, field):
    data = BrainDataModule("synthetic", patch_s=0.25, speech=targets)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert getattr(batch, field) is not None
    assert len(data._index["val"]) > 20
