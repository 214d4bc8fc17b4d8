"""One table of phonemes for data, models and scores."""

import pytest

from brainfm.errors import DataError
from brainfm.signals.phonemes import (
    BLANK,
    FEATURES,
    N_SYMBOLS,
    PHONEMES,
    SIL,
    phoneme_id,
    phoneme_ids,
    phoneme_symbol,
)


def test_thirty_nine_phonemes_are_numbered_in_alphabetical_order():
    assert len(PHONEMES) == 39 and list(PHONEMES) == sorted(PHONEMES)
    assert [phoneme_id(p) for p in PHONEMES] == list(range(1, 40))
    assert (BLANK, SIL, N_SYMBOLS) == (0, 40, 41)


def test_stress_and_case_are_dropped():
    assert phoneme_ids(["AH0", "ah1", "AH"]) == [3, 3, 3] and phoneme_id("SIL") == SIL


@pytest.mark.parametrize("symbol", ["QQ", "", "SP", "AH3", "A"])
def test_unknown_symbols_are_refused(symbol):
    with pytest.raises(DataError, match=f"phoneme '{symbol}' is none of the 39 of ARPAbet"):
        phoneme_id(symbol)


def test_numbers_go_back_to_symbols_and_the_blank_has_none():
    assert [phoneme_symbol(phoneme_id(p)) for p in (*PHONEMES, "SIL")] == [*PHONEMES, "SIL"]
    for number in (BLANK, 41, -1):
        with pytest.raises(DataError, match=f"{number} is no phoneme"):
            phoneme_symbol(number)


def test_every_phoneme_has_one_manner_and_vowels_are_voiced():
    manners = ("vowel", "plosive", "fricative", "affricate", "nasal", "approximant")
    for p in PHONEMES:
        assert sum(p in FEATURES[m] for m in manners) == 1
    assert FEATURES["vowel"] <= FEATURES["voiced"]
    assert set().union(*FEATURES.values()) == set(PHONEMES)
