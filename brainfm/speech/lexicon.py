"""Words as phonemes: which words there are, and a search that can only say them.

Shapes: A arcs, V words, N nodes of the tree of words.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import ContractError, DataError
from brainfm.signals.phonemes import SIL, phoneme_ids, phoneme_symbol
from brainfm.speech.ngram import CACHED, NGram
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
    lookahead : inside a word, count beforehand what the n-gram model (of this order at most: 1 is a
        unigram) gives to the best word that can still come, and settle up where the word ends
        (Ortmanns et al., ICSLP 1996). Words at a beam's edge are then judged by both
        signal and language; scores of whole words are those without. 0: at ends of words alone

    Raises
    ------
    ContractError
        If a lookahead is asked for without an n-gram model, or of an order that it does not have.
    DataError
        If the n-gram model has a closed vocabulary without some word of the lexicon.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        lm: NGram | None = None,
        weight: float = 1.0,
        bonus: float = 0.0,
        silence: bool = False,
        lookahead: int = 0,
    ) -> None:
        if not 0 <= lookahead <= (lm.order if lm else 0):
            raise ContractError(
                f"lookahead is {lookahead}, but the search has "
                f"{f'an n-gram model of order {lm.order}' if lm else 'no n-gram model'}; give a "
                f"number from 0 to {lm.order if lm else 0}"
            )
        self.lm, self.weight, self.bonus, self.silence = lm, weight, bonus, silence
        self.lookahead = lookahead
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
        self._number = {word: lm.number(word) for word in lexicon.words} if lm else {}
        self._ahead: dict[tuple[int, ...], NDArray[np.float64]] = {}
        if lookahead:
            self._below_V, self._bounds = self._words_below()

    def arcs(self, state: Place) -> Arcs:
        """Phonemes that go on with a word, and those that end one: words alike in sound fork."""
        symbols, scores, states = [], [], []
        ahead_N = self._best_ahead(state.history) if self.lookahead else None
        for phoneme, node, word in self._ways[state.node]:
            history, score = state.history, 0.0
            if word:
                score = self.bonus
                if self.lm is not None:
                    number = self._number[word]
                    score += self.weight * self.lm.log_prob(history, number)
                    history = self.lm.after(history, number)
            elif ahead_N is not None:
                score = ahead_N[node]
            if ahead_N is not None:
                score -= ahead_N[state.node]  # counted on the way here
            symbols.append(phoneme)
            scores.append(score)
            states.append(Place(node, history, word))
        if self.silence and state.node == 0 and not state.paused:
            symbols.append(SIL)
            scores.append(0.0)
            states.append(Place(0, state.history, paused=True))
        return Arcs(np.array(symbols, np.int64), np.array(scores), states)

    def _best_ahead(self, history: tuple[int, ...]) -> NDArray[np.float64]:
        """(N,) what a word that goes through each node adds at most; 0 between words."""
        seen = history[len(history) - (self.lookahead - 1) :]
        if seen not in self._ahead:
            logp_V = self.lm.log_probs(seen)[self._below_V]
            # Pairs of bounds: every other result is the best word of a node.
            best_N = np.maximum.reduceat(np.append(logp_V, -np.inf), self._bounds)[::2]
            ahead_N = self.weight * best_N + self.bonus
            ahead_N[0] = 0.0
            if len(self._ahead) * len(ahead_N) > CACHED:
                self._ahead.clear()
            self._ahead[seen] = ahead_N
        return self._ahead[seen]

    def _words_below(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Words in the order of the tree, and where those below each node begin and end there."""
        words: list[int] = []
        bounds = np.zeros((len(self._nodes), 2), np.int64)

        def walk(node: int) -> None:
            bounds[node, 0] = len(words)
            for _, child, word in self._ways[node]:
                if word:
                    words.append(self._number[word])
                else:
                    walk(child)
            bounds[node, 1] = len(words)

        walk(0)
        return np.array(words, np.int64), bounds.ravel()

    def finish(self, state: Place) -> float:
        """Nothing may end inside a word."""
        if state.node != 0:
            return -np.inf
        return 0.0 if self.lm is None else self.weight * self.lm.log_prob(state.history, 0)


def words_in(states: Iterable[Place]) -> list[str]:
    """The words that a search has passed."""
    return [state.word for state in states if state.word]
