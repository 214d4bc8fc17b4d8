"""The 39 phonemes of American English in ARPAbet, their numbers, and what they are made of.

Symbols without stress, as in the CMU Pronouncing Dictionary. 0 is kept for the blank of CTC;
SIL is silence between words, where a task uses it.
"""

from __future__ import annotations

from collections.abc import Iterable

from brainfm.errors import DataError

PHONEMES = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY"),
    *("F", "G", "HH", "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY"),
    *("P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH"),
)
"""In alphabetical order; the number of a phoneme is its place, from 1."""
BLANK = 0
SIL = 40
SILENCE = "SIL"
N_SYMBOLS = 41
"""Blank, 39 phonemes and silence."""
_ID = {symbol: i for i, symbol in enumerate(PHONEMES, 1)} | {SILENCE: SIL}

WORD, PHONEME, SENTENCE = "word:", "phoneme:", "sentence:"
"""How the labels of events begin that say what was spoken."""

FEATURES: dict[str, frozenset[str]] = {
    name: frozenset(symbols.split())
    for name, symbols in {
        "vowel": "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW",
        "high": "IH IY UH UW",
        "low": "AA AE AO AW AY",
        "front": "AE EH EY IH IY",
        "back": "AA AO OW OY UH UW",
        "plosive": "B D G K P T",
        "fricative": "DH F HH S SH TH V Z ZH",
        "affricate": "CH JH",
        "nasal": "M N NG",
        "approximant": "L R W Y",
        "labial": "B F M P V W",
        "coronal": "CH D DH JH L N R S SH T TH Z ZH",
        "dorsal": "G K NG Y",
        "voiced": "AA AE AH AO AW AY B D DH EH ER EY G IH IY JH L M N NG OW OY R UH UW V W Y Z ZH",
    }.items()
}
"""Which phonemes have a phonetic feature: manner, place and voicing of the usual table of American
English (recalled; the set of features follows Mesgarani et al., Science 343, 2014)."""


def phoneme_id(symbol: str) -> int:
    """Number of an ARPAbet symbol, with or without stress (`AH0`), or of SIL.

    Raises
    ------
    DataError
        If the symbol is none of the table.
    """
    plain = symbol.strip().upper().rstrip("012")
    if plain not in _ID:
        raise DataError(
            f"phoneme '{symbol}' is none of the 39 of ARPAbet ({PHONEMES[0]} to {PHONEMES[-1]}) "
            f"nor {SILENCE}; map it before it is written into an event"
        )
    return _ID[plain]


def phoneme_ids(symbols: Iterable[str]) -> list[int]:
    """Numbers of several symbols; see `phoneme_id`."""
    return [phoneme_id(symbol) for symbol in symbols]


def phoneme_symbol(number: int) -> str:
    """Symbol of a number from 1 to 40.

    Raises
    ------
    DataError
        If there is no such phoneme; the blank has no symbol.
    """
    if number == SIL:
        return SILENCE
    if not 1 <= number <= len(PHONEMES):
        raise DataError(f"{number} is no phoneme; they are numbered 1 to {len(PHONEMES)}")
    return PHONEMES[number - 1]
