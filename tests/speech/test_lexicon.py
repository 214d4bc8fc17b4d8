"""A lexicon: what it takes, what it refuses, and the file that keeps it."""

import pytest

from brainfm.errors import DataError
from brainfm.signals.phonemes import phoneme_ids
from brainfm.speech.lexicon import Lexicon


def test_pronunciations_lose_stress_and_repeats():
    lexicon = Lexicon({"Either,": ["IY1 DH ER0", "AY DH ER", "IY DH ER"], "a": [["AH0"]]})
    assert lexicon.words == ("either", "a")
    spoken = [tuple(phoneme_ids(p.split())) for p in ("IY DH ER", "AY DH ER")]
    assert list(lexicon.entries["either"]) == spoken


def test_a_saved_lexicon_is_the_same(tmp_path):
    lexicon = Lexicon({"either": ["IY DH ER", "AY DH ER"], "two": ["T UW"]})
    assert Lexicon.load(lexicon.save(tmp_path / "lexicon.json")).entries == lexicon.entries


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "no word"),
        ({"cat": []}, "'cat' has no pronunciation"),
        ({"cat": ["K QQ T"]}, "'cat': phoneme 'QQ'"),
        ({"cat": [""]}, "'cat' is spelled ''"),
        ({"cat": ["K SIL T"]}, "no SIL"),
        ({"cat": ["K AE T"], "Cat": ["K AE T"]}, "the same word"),
    ],
)
def test_what_cannot_be_said_is_refused(given, named):
    with pytest.raises(DataError, match=named.replace("?", r"\?")):
        Lexicon(given)


@pytest.mark.parametrize("content", ["[1]", "{", '{"cat": "K AE T"}'])
def test_a_damaged_file_is_named(content, tmp_path):
    path = tmp_path / "words.json"
    path.write_text(content)
    with pytest.raises(DataError, match="words.json"):
        Lexicon.load(path)
