"""One way to write text down before it is compared or counted; every score of words states it."""

from __future__ import annotations

import re
import unicodedata

NORMALISER = (
    "brainfm-text-1: NFKC, lower case, letters, digits and apostrophes inside words kept, all else "
    "is a space, single spaces"
)
"""Name, version and rule; results state it. Another rule needs another number."""
_APOSTROPHES = str.maketrans({c: "'" for c in "\u2018\u2019\u02bc\u2032`"})
_OUTSIDE = re.compile(r"[^\w']|_")
_LOOSE = re.compile(r"(?<!\w)'+|'+(?!\w)|(?<=')'+")


def normalise(text: str) -> str:
    """Text by the rule of `NORMALISER`; empty where there is nothing but punctuation."""
    plain = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).lower()
    # Accents stay where NFKC joined them to their letter; loose marks are no word characters.
    return " ".join(_LOOSE.sub(" ", _OUTSIDE.sub(" ", plain)).split())


def words_of(text: str) -> list[str]:
    """The words of a normalised text."""
    return normalise(text).split()
