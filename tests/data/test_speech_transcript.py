"""Transcripts enter only where they belong to their recording."""

import pickle

import pytest
from spoken import RECIPE, events_of, spoken_recording

from brainfm.data import store as store_module
from brainfm.data.format import read_header
from brainfm.data.store import Store, build_tables, write_recording
from brainfm.data.transcript import transcript_of
from brainfm.errors import DataError
from brainfm.types import Event


def words(*triples):
    return [Event(a, d, f"word:{text}") for a, d, text in triples]


def test_labels_are_sorted_into_words_phonemes_and_sentences():
    events, seconds = events_of(["the cat sat"])
    said = transcript_of([*events, Event(0.5, 0.0, "button")], seconds, "x")
    assert [w.label for w in said.words] == ["the", "cat", "sat"]
    assert [p.label for p in said.phonemes] == "DH AH K AE T S AE T SIL".split()
    assert [s.label for s in said.sentences] == ["the cat sat"]
    assert said and not transcript_of([Event(0, 1, "left_fist")], 5, "x")


def test_words_within_a_stretch_are_those_whose_middle_lies_in_it():
    said = transcript_of(words((0, 1, "one"), (1, 1, "two"), (2, 1, "three")), 3, "x")
    assert [w.label for w in said.words_within(0.4, 1.5)] == ["one"]
    assert [w.label for w in said.words_within(0.5, 2.6)] == ["one", "two", "three"]
    assert said.phonemes_within(0, 3) == []


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        (words((0, 1, "one"), (1, 1, " ")), r"f\.vhdr: word 2 at 1\.00 s has no text"),
        (words((2, 1, "one"), (1, 1, "two")), r"word 2 \('two'\) begins at 1\.00 s .* after one"),
        (words((-0.5, 1, "one")), r"word 1 \('one'\) begins at -0\.50 s"),
        (words((1, -1, "one")), r"word 1 \('one'\) begins at 1\.00 s and lasts -1\.00 s"),
        (words((float("nan"), 1, "one")), r"word 1 \('one'\) begins at nan s"),
        (words((9.5, 1, "late")), r"word 1 \('late'\) ends at 10\.50 s, .* lasts 10\.00 s"),
        ([Event(0, 1, "phoneme:QQ")], r"f\.vhdr: at 0\.00 s: phoneme 'QQ' is none of the 39"),
        ([Event("soon", 1, "word:a")], r"f\.vhdr: an event is no onset .*'soon'.*; correct it"),
        ([Event(0, 1, None)], r"f\.vhdr: an event is no onset and duration in seconds with a text"),
        ([Event(0, 99, "sentence:" + "so " * 40)], r"sentence 1 \('so so .*\.\.\.'\) ends at 99"),
    ],
)
def test_a_transcript_of_another_recording_is_refused_by_file_and_value(events, sentence):
    with pytest.raises(DataError, match=sentence):
        transcript_of(events, 10.0, "f.vhdr")


def test_a_recordings_header_is_read_once_however_often_it_is_asked(tmp_path, monkeypatch):
    recording = spoken_recording(["the cat sat"])
    write_recording(recording, tmp_path / "spoken" / "x.safetensors", recipe=RECIPE)
    build_tables(tmp_path)
    read = []

    def counting(path):
        read.append(path)
        return read_header(path)

    monkeypatch.setattr(store_module, "read_header", counting)
    store = Store(tmp_path)
    assert store.transcript(0) is store.transcript(0) and len(read) == 1
    assert [w.label for w in store.transcript(0).words] == ["the", "cat", "sat"]
    assert pickle.loads(pickle.dumps(store))._said == {}
    monkeypatch.setattr(store_module, "MAX_SPOKEN", 11)  # it says 12
    crowded = Store(tmp_path)
    assert crowded.transcript(0) == crowded.transcript(0) == store.transcript(0)
    assert len(read) == 3


def test_rounding_at_the_end_is_forgiven():
    assert transcript_of(words((9.0, 1.05, "end")), 10.0, "x").words


def test_a_wrong_transcript_does_not_enter_the_store(tmp_path):
    recording = spoken_recording(["the cat sat"])
    recording.source = "book.wav"
    recording.events.append(Event(100.0, 1.0, "word:nowhere"))
    path = tmp_path / "spoken" / "x.safetensors"
    with pytest.raises(DataError, match=r"book\.wav: word 4 \('nowhere'\) ends at 101\.00 s"):
        write_recording(recording, path, recipe=RECIPE)
    assert not list(path.parent.glob("*"))


def test_texts_are_stored_as_published(tmp_path):
    recording = spoken_recording(["the cat sat"])
    recording.events = [*words((1, 0.5, "O'Clock!")), Event(1, 0.5, "phoneme:AH0")]
    write_recording(recording, tmp_path / "s" / "x.safetensors", recipe=RECIPE)
    assert read_header(tmp_path / "s" / "x.safetensors")["events"][0].label == "word:O'Clock!"
