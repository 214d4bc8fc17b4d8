"""An n-gram model of words or phonemes: what usually follows what, learned from counts.

Interpolated Kneser-Ney with one discount an order (Kneser & Ney 1995; Chen & Goodman, Computer
Speech & Language 13, 1999): a lower order counts how many different symbols a sequence follows,
not how often it occurs.

Shapes: V symbols, among them the end of a sequence.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
FORMAT = "brainfm-ngram-1"
CACHED = 2**24
"""Numbers held of histories that were asked for (128 MB)."""
Gram = tuple[int, ...]


class NGram:
    """Probabilities of the next symbol; made by `train` or `load`.

    Parameters
    ----------
    symbols : what can follow, `END` first; `UNKNOWN` among them where any symbol may come
    order : longest n-gram; 3 is a trigram
    counts : how often each n-gram of that length occurs. Numbers are places in `symbols`; before a
        sequence stands `begin`, `order` - 1 times
    """

    def __init__(self, symbols: Sequence[str], order: int, counts: dict[Gram, int]) -> None:
        self.symbols, self.order, self.counts = tuple(symbols), order, counts
        self.begin = len(self.symbols)
        self._id = {s: i for i, s in enumerate(self.symbols)}
        self._follow: list[dict[Gram, dict[int, int]]] = []
        self._total: list[dict[Gram, int]] = []
        self._discount: list[float] = []
        grams = counts
        for length in range(order, 0, -1):
            follow: dict[Gram, dict[int, int]] = defaultdict(dict)
            for gram, count in grams.items():
                follow[gram[:-1]][gram[-1]] = count
            self._follow.insert(0, dict(follow))
            self._total.insert(0, {h: sum(after.values()) for h, after in follow.items()})
            self._discount.insert(0, _discount(grams.values()))
            grams = _shorter(grams, self.begin) if length > 1 else grams
        self._cache: dict[Gram, NDArray[np.float64]] = {}

    @classmethod
    def train(
        cls,
        sequences: Iterable[Sequence[str]],
        order: int = 3,
        vocabulary: Sequence[str] | None = None,
    ) -> NGram:
        """Count.

        Parameters
        ----------
        sequences : of words or phonemes; none may be empty
        order : longest n-gram
        vocabulary : all symbols there are. None: those that occur, and `UNKNOWN` for any other

        Raises
        ------
        DataError
            If there is no sequence, one is empty, or a symbol is outside the vocabulary.
        """
        if order < 1:
            raise ValueError(f"order is {order}; it must be at least 1")
        rows = [tuple(row) for row in sequences]
        if not rows or not all(rows):
            raise DataError(
                "the n-gram model is given no sequence"
                if not rows
                else f"sequence {rows.index(()) + 1} of {len(rows)} is empty; leave it out"
            )
        if vocabulary is None:
            symbols = [END, UNKNOWN, *sorted({s for row in rows for s in row} - {UNKNOWN})]
        else:
            symbols = [END, *dict.fromkeys(vocabulary)]
        number = {s: i for i, s in enumerate(symbols)}
        counts: Counter[Gram] = Counter()
        for row in rows:
            for s in row:
                if s not in number or s in (BEGIN, END):
                    raise DataError(
                        f"symbol '{s}' is not in the vocabulary of {len(symbols) - 1}; map it or "
                        "add it"
                    )
            padded = (*[len(symbols)] * (order - 1), *(number[s] for s in row), 0)
            counts.update(padded[i : i + order] for i in range(len(row) + 1))
        return cls(symbols, order, dict(counts))

    def number(self, symbol: str) -> int:
        """Place of a symbol in `symbols`; that of `UNKNOWN` for others.

        Raises
        ------
        DataError
            If it is unknown and the vocabulary is closed.
        """
        found = self._id.get(symbol, self._id.get(UNKNOWN))
        if found is None:
            raise DataError(
                f"symbol '{symbol}' is not in the closed vocabulary of this n-gram model"
            )
        return found

    def after(self, history: Gram, symbol: int) -> Gram:
        """History behind one more symbol, as long as the model remembers."""
        return (*history, symbol)[-(self.order - 1) :] if self.order > 1 else ()

    @property
    def start(self) -> Gram:
        """History before the first symbol."""
        return (self.begin,) * (self.order - 1)

    def log_prob(self, history: Gram, symbol: int) -> float:
        """Natural log-probability that `symbol` comes next, from numbers."""
        known = self._cache.get(history)
        if known is not None:
            return float(known[symbol])
        p = 1 / len(self.symbols)
        for follow, total, discount in self._heard(history):
            p *= discount * len(follow) / total
            p += max(follow.get(symbol, 0) - discount, 0.0) / total
        return math.log(p)

    def log_probs(self, history: Gram) -> NDArray[np.float64]:
        """(V,) natural log-probabilities of all symbols; their exponentials add up to 1."""
        known = self._cache.get(history)
        if known is None:
            p_V = np.full(len(self.symbols), 1 / len(self.symbols))
            for follow, total, discount in self._heard(history):
                index = np.fromiter(follow, np.int64, len(follow))
                count = np.fromiter(follow.values(), np.float64, len(follow))
                p_V *= discount * len(follow) / total
                p_V[index] += (count - discount) / total
            if len(self._cache) * len(p_V) > CACHED:
                self._cache.clear()
            known = self._cache[history] = np.log(p_V)
        return known

    def score(self, sequence: Sequence[str]) -> float:
        """Natural log-probability of a whole sequence and its end."""
        history, total = self.start, 0.0
        for number in (*(self.number(s) for s in sequence), 0):
            total += self.log_prob(history, number)
            history = self.after(history, number)
        return total

    def perplexity(self, sequences: Iterable[Sequence[str]]) -> float:
        """Per symbol, ends of sequences counted."""
        rows = list(sequences)
        n = sum(len(row) + 1 for row in rows)
        if not n:
            raise DataError("perplexity needs at least one sequence; none was given")
        return math.exp(-sum(self.score(row) for row in rows) / n)

    def save(self, path: str | Path) -> Path:
        """Write symbols and counts as JSON."""
        content = {
            "format": FORMAT,
            "order": self.order,
            "symbols": list(self.symbols),
            "counts": [[*gram, count] for gram, count in sorted(self.counts.items())],
        }
        path = Path(path)
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> NGram:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If the file is missing or is not such a file.
        """
        try:
            content = json.loads(Path(path).read_text())
            if content["format"] != FORMAT:
                raise ValueError(f"its format is '{content['format']}', not '{FORMAT}'")
            symbols, order = [str(s) for s in content["symbols"]], int(content["order"])
            counts = {tuple(map(int, row[:-1])): int(row[-1]) for row in content["counts"]}
            if symbols[:1] != [END] or not counts or order < 1:
                raise ValueError("it has no symbols or no counts")
            known = range(len(symbols) + 1)  # the last one begins a sequence
            fits = all(len(g) == order and set(g) <= set(known) for g in counts)
            if not fits or min(counts.values()) < 1:
                raise ValueError(f"its n-grams are not {order} known symbols and a count")
        except (OSError, ValueError, KeyError, TypeError, IndexError) as e:
            raise DataError(
                f"{path}: is no n-gram model that can be read ({e}); train and save it again"
            ) from e
        return cls(symbols, order, counts)

    def _heard(self, history: Gram) -> Iterable[tuple[dict[int, int], int, float]]:
        """What followed the history, how often in all, and the discount: its shortest end first."""
        for length in range(min(len(history) + 1, self.order)):
            end = history[len(history) - length :]
            follow = self._follow[length].get(end)
            if follow is None:
                return
            yield follow, self._total[length][end], self._discount[length]


def _shorter(grams: dict[Gram, int], begin: int) -> dict[Gram, int]:
    """Counts one order lower: of different symbols in front; at a beginning, of occurrences."""
    counts: Counter[Gram] = Counter()
    for gram, count in grams.items():
        counts[gram[1:]] += count if gram[1] == begin else 1
    return dict(counts)


def _discount(counts: Iterable[int]) -> float:
    """n1 / (n1 + 2 n2), kept off 0 and 1 so that every symbol keeps a share."""
    many = Counter(counts)
    once, twice = many[1], many[2]
    return min(max(once / (once + 2 * twice), 0.1), 0.9) if once else 0.5
