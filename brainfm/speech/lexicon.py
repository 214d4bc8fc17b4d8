"""Words as phonemes: which words there are, and a search that can only say them.

Shapes: A arcs.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from brainfm.errors import DataError
from brainfm.signals.phonemes import SIL, phoneme_ids, phoneme_symbol
from brainfm.speech.ngram import NGram
from brainfm.speech.search import Arcs
from brainfm.speech.text import vocabulary_of


@dataclass
class _Node:
    """A beginning of words."""

    next: dict[int, _Node] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    """Those that are complete here; several where they sound alike."""


class Lexicon:
    """Words and their pronunciations.

    Parameters
    ----------
    pronunciations : word to its pronunciations, each ARPAbet symbols as a list or one string
        ("K AE T"); stress digits are dropped

    Raises
    ------
    DataError
        If there is no word, a word is empty or there twice, has no pronunciation, or a phoneme is
        unknown.
    """

    def __init__(self, pronunciations: Mapping[str, Iterable[str | Sequence[str]]]) -> None:
        if not pronunciations:
            raise DataError("the lexicon holds no word; give each word its phonemes")
        words = vocabulary_of(list(pronunciations), "lexicon")
        self.entries: dict[str, tuple[tuple[int, ...], ...]] = {}
        self.root = _Node()
        for word, spoken in zip(words, pronunciations.values(), strict=True):
            ids = dict.fromkeys(_ids(word, p) for p in spoken)
            if not ids:
                raise DataError(f"lexicon: '{word}' has no pronunciation; give at least one")
            self.entries[word] = tuple(ids)
            for pronunciation in ids:
                node = self.root
                for phoneme in pronunciation:
                    node = node.next.setdefault(phoneme, _Node())
                node.words.append(word)

    @property
    def words(self) -> tuple[str, ...]:
        """All words, in the order given."""
        return tuple(self.entries)

    def save(self, path: str | Path) -> Path:
        """Write words and pronunciations as JSON."""
        spoken = {
            word: [" ".join(map(phoneme_symbol, ids)) for ids in entries]
            for word, entries in self.entries.items()
        }
        path = Path(path)
        path.write_text(json.dumps(spoken, ensure_ascii=False, indent=0) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Lexicon:
        """Read what `save` wrote, or any JSON table of words and lists of pronunciations.

        Raises
        ------
        DataError
            If the file is missing or no such table, or for the reasons of the constructor.
        """
        try:
            content = json.loads(Path(path).read_text())
            if not isinstance(content, dict) or not all(
                isinstance(spoken, list) for spoken in content.values()
            ):
                raise ValueError("it is no table of words and lists of pronunciations")
        except (OSError, ValueError) as e:
            raise DataError(f"{path}: is no lexicon that can be read ({e}); save it again") from e
        return cls(content)


def _ids(word: str, spoken: str | Sequence[str]) -> tuple[int, ...]:
    try:
        ids = tuple(phoneme_ids(spoken.split() if isinstance(spoken, str) else spoken))
    except DataError as e:
        raise DataError(f"lexicon: '{word}': {e}") from e
    if not ids or SIL in ids:
        raise DataError(f"lexicon: '{word}' is spelled '{spoken}'; it needs phonemes, and no SIL")
    return ids


class Place(NamedTuple):
    """A state of `WordGrammar`."""

    node: int
    """Beginning of a word, or 0 between words."""
    history: tuple[int, ...]
    """Of the n-gram model."""
    word: str = ""
    """The word that has just ended."""
    paused: bool = False


class WordGrammar:
    """Phonemes in any order that words of a lexicon have, for `search.beam_search`.

    Parameters
    ----------
    lexicon : Lexicon
    lm : over words; None: all are worth the same
    weight : of the n-gram's log-probabilities
    bonus : added for each word
    silence : whether SIL may stand between words, where the decoder was trained with it
    """

    def __init__(
        self,
        lexicon: Lexicon,
        lm: NGram | None = None,
        weight: float = 1.0,
        bonus: float = 0.0,
        silence: bool = False,
    ) -> None:
        self.lm, self.weight, self.bonus, self.silence = lm, weight, bonus, silence
        self.start: Hashable = Place(0, lm.start if lm else ())
        self._nodes: list[_Node] = []
        self._ways: list[list[tuple[int, int, str]]] = []
        place = {id(lexicon.root): 0}
        queue = [lexicon.root]
        for node in queue:  # grows while it is walked
            self._nodes.append(node)
            ways = []
            for phoneme, child in node.next.items():
                if child.next:
                    place[id(child)] = len(queue)
                    queue.append(child)
                    ways.append((phoneme, place[id(child)], ""))
                ways += [(phoneme, 0, word) for word in child.words]
            self._ways.append(ways)

    def arcs(self, state: Place) -> Arcs:
        """Phonemes that go on with a word, and those that end one: words alike in sound fork."""
        symbols, scores, states = [], [], []
        for phoneme, node, word in self._ways[state.node]:
            history, score = state.history, 0.0
            if word:
                score = self.bonus
                if self.lm is not None:
                    number = self.lm.number(word)
                    score += self.weight * self.lm.log_prob(history, number)
                    history = self.lm.after(history, number)
            symbols.append(phoneme)
            scores.append(score)
            states.append(Place(node, history, word))
        if self.silence and state.node == 0 and not state.paused:
            symbols.append(SIL)
            scores.append(0.0)
            states.append(Place(0, state.history, paused=True))
        return Arcs(np.array(symbols, np.int64), np.array(scores), states)

    def finish(self, state: Place) -> float:
        """Nothing may end inside a word."""
        if state.node != 0:
            return -np.inf
        return 0.0 if self.lm is None else self.weight * self.lm.log_prob(state.history, 0)


def words_in(states: Iterable[Place]) -> list[str]:
    """The words that a search has passed."""
    return [state.word for state in states if state.word]
