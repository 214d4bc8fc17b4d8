"""Tables of what was heard: cells, phonemes, sentences, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.signals.phonemes import PHONEMES
from brainfm.types import Event, Kind, Recording
from data_prep.readers.speech_tables import TIMIT, Heard, read_rows, say, seconds
from data_prep.readers.spoken_trials import unplaced

TABLE = Path("events.tsv")


def recording(duration_s=10.0):
    signal = np.zeros((int(100 * duration_s), 1), np.float32)
    return Recording(signal, 100.0, unplaced(["a"], Kind.SEEG, "V"), "d", "s")


def symbols(*spoken):
    heard = Heard()
    for i, symbol in enumerate(spoken):
        heard.phoneme(float(i), 0.1, symbol, "line 2")
    return [p.label for p in heard.phonemes], heard.left_out


@pytest.mark.parametrize(
    ("spoken", "symbol"),
    [("ih_B", "IH"), ("AH0", "AH"), ('"IY1"', "IY"), ("ax-h_I", "AH"), ("q", "K"), ("ZH", "ZH")],
)
def test_phonemes_of_both_alphabets_become_one(spoken, symbol):
    assert symbols(spoken)[0] == [symbol]


def test_all_61_symbols_of_timit_fall_onto_the_39_or_are_pauses():
    # TIMIT has what ARPAbet has, 19 variants that are folded, and 4 kinds of silence.
    every = [p.lower() for p in PHONEMES] + list(TIMIT) + ["sil", "h#", "epi", "pau"]
    assert len(every) == len(set(every)) == 62  # "sil" is not TIMIT's own
    kept, left_out = symbols(*every)
    assert set(kept) == set(PHONEMES) and len(kept) == 58
    assert left_out.total() == 4


@pytest.mark.parametrize("spoken", ["xx", "AHH", "3", "ə"])
def test_an_unknown_phoneme_is_named_with_its_place(spoken):
    with pytest.raises(DataError, match=f"line 2: phoneme '{spoken}' is none of the 39"):
        symbols(spoken)


def test_pauses_are_counted_not_kept():
    kept, left_out = symbols("sil", "sp", "SP", "oov_S", "", "T")
    assert kept == ["T"] and left_out.total() == 5


def test_words_of_one_sentence_are_joined_in_order_of_time():
    heard = Heard()
    heard.word(3.0, 0.5, "again", "2")
    heard.word(1.5, 0.5, " there", "1")
    heard.word(1.0, 0.4, "you ", "1")
    heard.word(5.0, 0.2, "alone")
    heard.word(6.0, 0.2, "more", "2")
    assert heard.events() == [
        Event(1.0, 1.0, "sentence:you there"),
        Event(3.0, 0.5, "sentence:again"),
        Event(6.0, pytest.approx(0.2), "sentence:more"),
        Event(1.0, 0.4, "word:you"),
        Event(1.5, 0.5, "word:there"),
        Event(3.0, 0.5, "word:again"),
        Event(5.0, 0.2, "word:alone"),
        Event(6.0, 0.2, "word:more"),
    ]


def test_a_sentence_lasts_to_the_end_of_its_longest_word():
    heard = Heard()
    heard.word(1.0, 3.0, "loooong", "a")
    heard.word(1.5, 0.5, "short", "a")
    assert heard.events()[0] == Event(1.0, 3.0, "sentence:loooong short")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ((1.0, 0.2, "  "), "has no text"),
        ((-0.2, 0.2, "a"), "begins at -0.20 s"),
        ((1.0, -0.2, "a"), "lasts -0.20 s"),
        ((9.9, 0.5, "a"), "ends at 10.40 s, but the recording lasts 10.00 s"),
        ((9000.0, 100.0, "a"), "its times are no seconds"),
    ],
)
def test_words_that_do_not_fit_the_recording_refuse_its_table(word, sentence):
    heard = Heard()
    heard.word(*word)
    with pytest.raises(DataError, match=sentence) as e:
        say(recording(), heard, TABLE)
    assert str(e.value).startswith("events.tsv: ") and len(str(e.value).splitlines()) == 1


def test_a_recording_says_what_was_left_out():
    heard = Heard()
    heard.word(1.0, 0.2, "a")
    heard.phoneme(1.0, 0.1, "sil", "")
    r = say(recording(), heard, TABLE)
    assert r.events == [Event(1.0, 0.2, "word:a")]
    assert r.notes == ["1 pauses and unaligned words among the phonemes are left out"]
    with pytest.raises(DataError, match="has no word and no phoneme"):
        say(recording(), Heard(), TABLE)


def test_cells_are_text_and_times_are_finite(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("\ufeffonset\tword\n1.5\tNone\n", encoding="utf-8")
    (row,) = read_rows(path, ("onset", "word"))
    assert row == {"onset": "1.5", "word": "None"}
    assert seconds(path, 2, row["onset"], "onset") == 1.5
    for text in ("", "nan", "inf", "1,5", None, "1e12"):
        with pytest.raises(DataError, match="onset in line 2 is .*, no time"):
            seconds(path, 2, text, "onset")


def test_tables_that_are_none_are_named(tmp_path):
    path = tmp_path / "a.tsv"
    with pytest.raises(DataError, match=r"a\.tsv: missing"):
        read_rows(path, ("onset",))
    path.write_bytes(b"onset\n\xff\xfe\n")
    with pytest.raises(DataError, match="no readable table"):
        read_rows(path, ("onset",))
    path.write_text("")
    with pytest.raises(DataError, match="has no column onset, word"):
        read_rows(path, ("onset", "word"))
    path.write_text("onset\tword\n1\tyes\n2\n")
    with pytest.raises(DataError, match="line 3 is cut off"):
        read_rows(path, ("onset", "word"))
