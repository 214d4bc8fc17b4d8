"""From probabilities at every frame to what was said: greedy and prefix beam search of CTC.

A prefix beam search adds up all ways to spell a prefix, with and without a blank at their end
(Graves 2006 for the rule, Hannun et al., arXiv 1408.2873, for the search); a language joins in
when a prefix grows. What may follow what is a `Grammar`: any symbol, or words of a lexicon.

Shapes: N frames, K symbols (0 the blank), A arcs, P prefixes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from brainfm.errors import ContractError
from brainfm.speech.ngram import NGram

BLANK = 0


@dataclass(frozen=True)
class Arcs:
    """Ways on from a state.

    Attributes
    ----------
    symbol_A : class of CTC each one spells, never the blank
    score_A : what is added to the log-probability
    state_A : where each one leads
    """

    symbol_A: NDArray[np.int64]
    score_A: NDArray[np.float64]
    state_A: Sequence[Hashable]


class Grammar(Protocol):
    """Which symbols may come, and what they are worth."""

    start: Hashable

    def arcs(self, state: Any) -> Arcs:
        """Ways on from a state; asked for once a prefix."""
        ...

    def finish(self, state: Any) -> float:
        """What ending here is worth; -inf where nothing may end."""
        ...


class AnySymbol:
    """Every symbol may follow every other; an n-gram model may weigh them.

    Parameters
    ----------
    n_symbols : K, blank counted
    lm : over symbols; None: all are worth the same
    names : name in `lm` of each class, K of them (that of the blank is not used)
    weight : of the n-gram's log-probabilities
    bonus : added for each symbol, against the n-gram's liking for short sequences
    """

    def __init__(
        self,
        n_symbols: int,
        lm: NGram | None = None,
        names: Sequence[str] = (),
        weight: float = 1.0,
        bonus: float = 0.0,
    ) -> None:
        if lm is not None and len(names) != n_symbols:
            raise ContractError(
                f"the n-gram model is given names of {len(names)} symbols, the decoder has "
                f"{n_symbols} (blank counted); give one a class"
            )
        self.lm, self.weight, self.bonus = lm, weight, bonus
        self.symbol_A = np.arange(1, n_symbols)
        self.start: Hashable = () if lm is None else lm.start
        self._number = np.array([lm.number(n) for n in names[1:]] if lm else [], np.int64)
        self._arcs: dict[tuple[int, ...], Arcs] = {}

    def arcs(self, state: tuple[int, ...]) -> Arcs:
        if state not in self._arcs:
            score_A = np.full(len(self.symbol_A), float(self.bonus))
            next_A: list[tuple[int, ...]] = [()] * len(score_A)
            if self.lm is not None:
                score_A += self.weight * self.lm.log_probs(state)[self._number]
                next_A = [self.lm.after(state, int(n)) for n in self._number]
            self._arcs[state] = Arcs(self.symbol_A, score_A, next_A)
        return self._arcs[state]

    def finish(self, state: tuple[int, ...]) -> float:
        return 0.0 if self.lm is None else self.weight * self.lm.log_prob(state, 0)


@dataclass(frozen=True)
class Found:
    """One result of a search.

    Attributes
    ----------
    symbols : classes, blanks and repeats gone
    states : of the grammar, behind each symbol
    score : log-probability of all their spellings, with what the grammar added
    complete : whether the grammar lets it end here; where a beam holds none that may end, those
        that may not are given
    """

    symbols: tuple[int, ...]
    states: tuple[Any, ...]
    score: float
    complete: bool


def greedy(logp_NK: ArrayLike) -> list[int]:
    """The likeliest class of each frame, repeats joined, blanks dropped."""
    best_N = np.asarray(logp_NK).argmax(1)
    new_N = np.diff(best_N, prepend=-1) != 0
    return [int(k) for k in best_N[new_N & (best_N != BLANK)]]


def edits(said: Sequence[Hashable], found: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and substitutions between two sequences.

    To watch a training run; scores that are reported come from `eval.metrics.text`.
    """
    row = list(range(len(found) + 1))
    for i, a in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(found, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


@dataclass(eq=False)
class _Prefix:
    """A node of the tree of prefixes; made once, so what the grammar says of it is asked once."""

    parent: _Prefix | None
    arc: int
    symbol: int
    state: Hashable
    score: float
    """What the grammar has added so far."""
    children: dict[int, _Prefix] = field(default_factory=dict)
    arcs: Arcs | None = None


def beam_search(logp_NK: ArrayLike, grammar: Grammar, beam: int = 32) -> list[Found]:
    """The best prefixes, best first; exact where `beam` holds all there are. None may be found.

    Parameters
    ----------
    logp_NK : natural log-probabilities, class 0 the blank
    grammar : what may follow what
    beam : prefixes kept at each frame

    Raises
    ------
    ContractError
        If a log-probability is NaN or positive (logits must be normalised first).
    """
    logp_NK = np.asarray(logp_NK, np.float64)
    if logp_NK.ndim != 2 or not (logp_NK <= 1e-3).all():
        raise ContractError(
            f"the search needs log-probabilities (frames, symbols), found shape {logp_NK.shape} "
            f"with maximum {logp_NK.max() if logp_NK.size else 'none'}; take log_softmax first"
        )
    if beam < 1:
        raise ValueError(f"beam is {beam}; it must be at least 1")
    kept = [_Prefix(None, -1, BLANK, grammar.start, 0.0)]
    blank_P, other_P = np.zeros(1), np.full(1, -np.inf)
    for logp_K in logp_NK:
        kept, blank_P, other_P = _step(kept, blank_P, other_P, logp_K, grammar, beam)
        if not kept:  # nothing the grammar knows can have been said
            return []
    total_P = np.logaddexp(blank_P, other_P)
    found = []
    for prefix, total in zip(kept, total_P, strict=True):
        end = grammar.finish(prefix.state)
        score = float(total) + prefix.score + (end if np.isfinite(end) else 0.0)
        found.append(Found(*_way(prefix), score, bool(np.isfinite(end))))
    whole = [f for f in found if f.complete]
    return sorted(whole or found, key=lambda f: -f.score)


def _step(
    kept: list[_Prefix],
    blank_P: NDArray,
    other_P: NDArray,
    logp_K: NDArray,
    grammar: Grammar,
    beam: int,
) -> tuple[list[_Prefix], NDArray, NDArray]:
    """Prefixes after one more frame: those that stay, and those that grow by an arc."""
    for prefix in kept:
        if prefix.arcs is None:
            prefix.arcs = grammar.arcs(prefix.state)
    n, total_P = len(kept), np.logaddexp(blank_P, other_P)
    last_P = np.array([p.symbol for p in kept])
    many = [len(p.arcs.symbol_A) for p in kept]
    first_P = np.cumsum([0, *many[:-1]])
    symbol_A = np.concatenate([p.arcs.symbol_A for p in kept])
    from_A = np.repeat(np.arange(n), many)
    # Said twice in a row, a symbol needs a blank between.
    again_A = symbol_A == last_P[from_A]
    grown_A = logp_K[symbol_A] + np.where(again_A, blank_P[from_A], total_P[from_A])

    stay_blank_P = total_P + logp_K[BLANK]
    stay_other_P = other_P + np.where(last_P == BLANK, -np.inf, logp_K[last_P])
    place = {id(p): i for i, p in enumerate(kept)}
    for i, prefix in enumerate(kept):
        at = place.get(id(prefix.parent))
        if at is not None:  # its parent grows into it
            a = first_P[at] + prefix.arc
            stay_other_P[i] = np.logaddexp(stay_other_P[i], grown_A[a])
            grown_A[a] = -np.inf

    worth_P = np.array([p.score for p in kept])
    gain_A = np.concatenate([p.arcs.score_A for p in kept])
    rank = np.concatenate(
        [np.logaddexp(stay_blank_P, stay_other_P) + worth_P, grown_A + gain_A + worth_P[from_A]]
    )
    best = np.arange(len(rank)) if len(rank) <= beam else np.argpartition(-rank, beam)[:beam]
    best = best[np.isfinite(rank[best])]
    prefixes, blanks, others = [], [], []
    for b in best:
        if b < n:
            prefixes.append(kept[b])
            blanks.append(stay_blank_P[b])
            others.append(stay_other_P[b])
        else:
            a = int(b - n)
            parent = kept[from_A[a]]
            prefixes.append(_child(parent, int(a - first_P[from_A[a]])))
            blanks.append(-np.inf)
            others.append(grown_A[a])
    return prefixes, np.array(blanks), np.array(others)


def _child(parent: _Prefix, arc: int) -> _Prefix:
    if arc not in parent.children:
        arcs = parent.arcs
        parent.children[arc] = _Prefix(
            parent,
            arc,
            int(arcs.symbol_A[arc]),
            arcs.state_A[arc],
            parent.score + float(arcs.score_A[arc]),
        )
    return parent.children[arc]


def _way(prefix: _Prefix) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Symbols and states from the start to a prefix."""
    way = []
    while prefix.parent is not None:
        way.append((prefix.symbol, prefix.state))
        prefix = prefix.parent
    return tuple(s for s, _ in reversed(way)), tuple(s for _, s in reversed(way))
