"""One way to write text down before it is counted: every score of words says that it was used."""

from __future__ import annotations

from brainfm.errors import DataError
from brainfm.signals.spelling import NORMALISER, normalise, words_of

__all__ = ["NORMALISER", "normalise", "vocabulary_of", "words_of"]


def vocabulary_of(words: list[str] | tuple[str, ...], where: str) -> tuple[str, ...]:
    """Words of a closed vocabulary, normalised, in the order given.

    Parameters
    ----------
    words : one word each
    where : the file or setting they come from, for refusals

    Raises
    ------
    DataError
        If a word is empty, is more than one, or occurs twice after normalising.
    """
    found: dict[str, str] = {}
    for word in words:
        plain = normalise(word)
        if not plain or " " in plain:
            raise DataError(
                f"{where}: '{word}' is {'no word' if not plain else 'more than one word'} "
                f"('{plain}' as counted); give one word an entry"
            )
        if plain in found:
            raise DataError(
                f"{where}: '{word}' and '{found[plain]}' are the same word ('{plain}'); keep one"
            )
        found[plain] = word
    return tuple(found)
