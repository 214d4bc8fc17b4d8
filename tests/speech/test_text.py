"""The normaliser: one rule, stated, that changes nothing the second time."""

import pytest

from brainfm.errors import DataError
from brainfm.speech.text import NORMALISER, normalise, vocabulary_of, words_of


@pytest.mark.parametrize(
    ("published", "counted"),
    [
        ("  Don\u2019t  STOP -- now! ", "don't stop now"),
        ("'Tis the dogs' well-known park.", "tis the dogs well known park"),
        ("caf\u0065\u0301, na\u00efve_word", "caf\u00e9 na\u00efve word"),
        ("''quoted''", "quoted"),
        ("\u5927\u5bb6", "\u5927\u5bb6"),
        ("... ?!", ""),
    ],
)
def test_text_is_written_down_in_one_way(published, counted):
    assert normalise(published) == counted
    assert normalise(counted) == counted
    assert words_of(published) == counted.split()


def test_the_rule_has_a_name_and_a_version():
    assert NORMALISER.startswith("brainfm-text-1:")


def test_a_vocabulary_keeps_its_order():
    assert vocabulary_of(["Zebra", "apple."], "list") == ("zebra", "apple")


@pytest.mark.parametrize(
    ("words", "named"),
    [(["a", "?"], "'?' is no word"), (["New York"], "more than one"), (["Cat", "cat!"], "'Cat'")],
)
def test_a_vocabulary_of_no_words_or_the_same_words_is_refused(words, named):
    with pytest.raises(DataError, match="mine") as refused:
        vocabulary_of(words, "mine")
    assert named in str(refused.value)
