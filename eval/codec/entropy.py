"""Lengths of an ideal arithmetic coder whose tables were counted on training data and stay.

A decoder needs nothing but the tables, which belong to the codec as its weights do. The length of
a message is the sum of -log2 p of its symbols; an arithmetic coder comes within two bits of it
(tests/eval/test_codec_entropy.py writes one and compares).

Shapes: N windows, S sources, W steps, Q levels, K codes, G groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PRIOR = 0.5
"""Added to every count (Krichevsky and Trofimov): what training never showed stays possible."""
LARGEST = 63
"""Larger integers are coded by sign and number of binary digits, and the digits written out."""
CLASSES = 32
"""Numbers of digits there are tables for."""

WEIGHTS = (4.0, 32.0, 256.0)
"""Of the codes at all against those after a context, to choose from."""

Ints = NDArray[np.integer[Any]]
Choice = tuple[str, float | None]
"""Kind of context, and weight of the codes at all."""


def table_bits(count_K: NDArray[Any]) -> NDArray[np.float64]:
    """Bits each symbol costs under counts (..., K)."""
    count = count_K + PRIOR
    return np.asarray(np.log2(count.sum(-1, keepdims=True)) - np.log2(count))


class CodeTable:
    """Counts of the codes of one level, alone and after each context.

    After a context, what followed it in training is mixed with what is common at all:
    p(k | c) = (n(c, k) + weight p(k)) / (n(c) + weight).

    Parameters
    ----------
    id_N, context_N : training codes, and what a decoder knows before each
    n_codes : K
    weight : of the codes at all; None: contexts are not looked at
    """

    def __init__(self, id_N: Ints, context_N: Ints, n_codes: int, weight: float | None) -> None:
        self.n_codes, self.weight = n_codes, weight
        self.count_K = np.bincount(id_N, minlength=n_codes)
        if weight is not None:
            self.pair, self.times = np.unique(context_N * n_codes + id_N, return_counts=True)
            self.context_count = np.bincount(context_N, minlength=n_codes + 1)

    def bits(self, id_N: Ints, context_N: Ints) -> float:
        """Length of these codes."""
        bits_N = table_bits(self.count_K)[id_N]
        if self.weight is not None:
            pair = context_N * self.n_codes + id_N
            at = np.minimum(np.searchsorted(self.pair, pair), len(self.pair) - 1)
            seen = np.where(self.pair[at] == pair, self.times[at], 0)
            p = seen + self.weight * 2.0**-bits_N
            bits_N = np.log2(self.context_count[context_N] + self.weight) - np.log2(p)
        return float(bits_N.sum())


class CodeTables:
    """Tables for each level, and for each source where sources are no channels.

    The context of a code is nothing, the code of the step before, or the level above it in the
    same step: for each level whichever is shortest on one half of the training windows with
    tables of the other.

    Parameters
    ----------
    n_codes : K
    shared : True: sources are channels, which have tables in common
    contexts : False: no code has a context
    """

    def __init__(self, n_codes: int, shared: bool, contexts: bool = True) -> None:
        self.n_codes, self.shared, self.contexts = n_codes, shared, contexts
        self.tables: dict[tuple[int, int], CodeTable] = {}
        self.chosen: dict[int, Choice] = {}

    def count(self, ids_NSWQ: Ints) -> NDArray[np.int64]:
        """How often each code of each level occurs, (Q, K)."""
        levels = np.moveaxis(ids_NSWQ, -1, 0).reshape(ids_NSWQ.shape[-1], -1)
        return np.stack([np.bincount(ids, minlength=self.n_codes) for ids in levels])

    def fit(self, ids_NSWQ: Ints) -> None:
        """Learn from training codes."""
        self.tables = {}
        for q in range(ids_NSWQ.shape[-1]):
            self.chosen[q] = self._choose(ids_NSWQ, q)
            kind, weight = self.chosen[q]
            for s, (ids, context) in enumerate(self._parts(ids_NSWQ, q, kind)):
                self.tables[s, q] = CodeTable(ids, context, self.n_codes, weight)

    def bits(self, ids_NSWQ: Ints) -> NDArray[np.float64]:
        """Length of each level, (Q,), over everything given."""
        if not self.tables:
            raise ValueError("these tables have seen no training codes")
        out = np.zeros(ids_NSWQ.shape[-1])
        for q in range(len(out)):
            parts = self._parts(ids_NSWQ, q, self.chosen[q][0])
            out[q] = sum(self.tables[s, q].bits(*part) for s, part in enumerate(parts))
        return out

    def _choose(self, ids_NSWQ: Ints, q: int) -> Choice:
        choices: list[Choice] = [("nothing", None)]
        if self.contexts and len(ids_NSWQ) > 1:
            kinds = ("before", "above") if q else ("before",)
            choices += [(kind, weight) for kind in kinds for weight in WEIGHTS]
        # Windows lie recording by recording: halves are different stretches, or people.
        half = len(ids_NSWQ) // 2

        def length(choice: Choice) -> float:
            kind, weight = choice
            learnt = self._parts(ids_NSWQ[:half], q, kind)
            asked = self._parts(ids_NSWQ[half:], q, kind)
            return sum(
                CodeTable(*mine, self.n_codes, weight).bits(*other)
                for mine, other in zip(learnt, asked, strict=True)
            )

        return min(choices, key=length) if len(choices) > 1 else choices[0]

    def _parts(self, ids_NSWQ: Ints, q: int, kind: str) -> list[tuple[Ints, Ints]]:
        """Codes of a level and their contexts, flat, one a table."""
        ids = np.asarray(ids_NSWQ[..., q])
        context = np.full_like(ids, self.n_codes)  # of what has none
        if kind == "before":
            context[:, :, 1:] = ids[:, :, :-1]
        elif kind == "above":
            context = np.asarray(ids_NSWQ[..., q - 1])
        if self.shared:
            return [(ids.ravel(), context.ravel())]
        return [(ids[:, s].ravel(), context[:, s].ravel()) for s in range(ids.shape[1])]


def perplexity(count_K: NDArray[Any]) -> float:
    """2 to the entropy: so many codes, used equally, would tell as much."""
    p = count_K[count_K > 0] / max(1, count_K.sum())
    return float(2 ** -(p * np.log2(p)).sum())


class IntegerTables:
    """Tables of signed integers, one a group of coefficients.

    Small integers are symbols of their own; of one beyond `LARGEST` the symbol says its sign and
    its highest binary digit, and the digits below follow as they are.
    """

    def __init__(self, n_groups: int) -> None:
        self.counts = np.zeros((n_groups, 2 * LARGEST + 1 + 2 * CLASSES), np.int64)

    def add(self, value: Ints, group: Ints) -> None:
        """Learn from integers; `group` broadcasts to their shape."""
        self.counts += self._count(value, group)

    def bits(self, value: Ints, group: Ints) -> float:
        """Length of all integers."""
        length = float((self._count(value, group) * table_bits(self.counts)).sum())
        return length + float(digits_below(value[np.abs(value) > LARGEST]).sum())

    def _count(self, value: Ints, group: Ints) -> NDArray[np.int64]:
        symbol = value + LARGEST
        large = np.abs(value) > LARGEST
        if large.any():
            symbol = symbol.copy()
            below = digits_below(value[large])
            symbol[large] = 2 * LARGEST + 1 + 2 * below + (value[large] < 0)
        flat = (np.broadcast_to(group, value.shape) * self.counts.shape[1] + symbol).ravel()
        return np.bincount(flat, minlength=self.counts.size).reshape(self.counts.shape)


def digits_below(n: Ints) -> NDArray[np.int64]:
    """Binary digits below the highest one of integers that are not 0."""
    return np.asarray(np.frexp(np.abs(n).astype(float))[1].astype(np.int64) - 1)
