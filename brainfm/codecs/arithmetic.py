"""Integers to bytes under guessed distributions, and back, to the bit.

A guess is rounded to one of a few thousand distributions. What is left of an integer beyond them
is written as it is: binary digits below a wide distribution's resolution, and how far a freak lies
outside. The range coder is that of the package `constriction`.

Shapes: M integers, D distributions, A symbols, L extra digits.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import ContractError

if TYPE_CHECKING:
    from brainfm.codecs.context import Guess

REACH = 40
"""Symbols are integers from -REACH to REACH about the mean; the outermost two say "beyond"."""
SCALES_PER_OCTAVE, FINEST, WIDEST = 4, -4.0, 2.0
"""Grid of log2 scales; a wider distribution is that of the integer without its last digits."""
FRACTIONS = 8
"""Places of a mean inside its cell."""
TAILS_PER_UNIT, MOST_TAIL = 2, 4
"""Grid of tail logits, from -MOST_TAIL to MOST_TAIL."""
TAIL_RATIO = 4.0
COUNTS = 2**16
"""Probabilities are multiples of 1 / COUNTS, and none is zero."""

N_SCALES = int((WIDEST - FINEST) * SCALES_PER_OCTAVE) + 1
N_TAILS = 2 * MOST_TAIL * TAILS_PER_UNIT + 1
DIGIT_BITS = 6
"""What says how many digits a freak's distance has."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Symbols(NamedTuple):
    """Integers taken apart: distribution, symbol, digits below, and distance beyond; (M,) each."""

    table: Ints
    symbol: Ints
    n_digits: Ints
    digits: Ints
    beyond: Ints


class Place(NamedTuple):
    """Where a guess lies on the grid: distribution, first integer of symbol 0, digits; (M,)."""

    table: Ints
    middle: Ints
    n_digits: Ints


@cache
def tables() -> NDArray[np.float32]:
    """Probabilities (D, 2 REACH + 1) of all distributions, multiples of 1 / COUNTS."""
    scale = 2.0 ** (FINEST + np.arange(N_SCALES) / SCALES_PER_OCTAVE)
    place = np.arange(FRACTIONS) / FRACTIONS
    logit = np.arange(N_TAILS) / TAILS_PER_UNIT - MOST_TAIL
    tail = 0.5 / (1 + np.exp(-logit))
    edge = np.arange(-REACH, REACH) + 0.5
    away = (edge - place[:, None])[None, :, None, :] / scale[:, None, None, None]
    narrow, wide = _logistic(away), _logistic(away / TAIL_RATIO)
    below = narrow + tail[:, None] * (wide - narrow)
    edges = np.concatenate([np.zeros_like(below[..., :1]), below, np.ones_like(below[..., :1])], -1)
    p = np.diff(edges, axis=-1).reshape(-1, 2 * REACH + 1)
    spare = COUNTS - p.shape[1]
    count = 1 + np.floor(p * spare)
    count[np.arange(len(p)), p.argmax(1)] += COUNTS - count.sum(1)
    return (count / COUNTS).astype(np.float32)


def _logistic(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(x / 2))


def place(guess: Guess) -> Place:
    """The grid's point next to a guess (of `exact` computation, on the CPU)."""
    mean = guess.mean.numpy().reshape(-1)
    log_scale = guess.log_scale.numpy().reshape(-1)
    tail = guess.tail.numpy().reshape(-1)
    n_digits = np.maximum(np.ceil(log_scale - WIDEST), 0).astype(np.int64)
    unit = np.ldexp(1.0, n_digits)
    # The middle of the first `unit` integers is half a cell less than half a unit above them.
    fine = np.round((mean + 0.5 - unit / 2) / unit * FRACTIONS).astype(np.int64)
    middle, fraction = fine // FRACTIONS, fine % FRACTIONS
    scale = np.round((log_scale - n_digits - FINEST) * SCALES_PER_OCTAVE).astype(np.int64)
    tails = np.round((tail.clip(-MOST_TAIL, MOST_TAIL) + MOST_TAIL) * TAILS_PER_UNIT)
    table = (scale.clip(0, N_SCALES - 1) * FRACTIONS + fraction) * N_TAILS + tails.astype(np.int64)
    return Place(table, middle, n_digits)


def take_apart(q: Ints, at: Place) -> Symbols:
    """Symbols of integers (M,)."""
    away = (q >> at.n_digits) - at.middle
    symbol = np.clip(away, -REACH, REACH)
    inside = np.abs(symbol) < REACH
    digits = np.where(inside, q & ((1 << at.n_digits) - 1), 0)
    # Of a freak, all of the distance is written, digits below included.
    top = at.middle + np.where(symbol > 0, REACH, 1 - REACH)
    first = top << at.n_digits
    beyond = np.where(inside, -1, np.where(symbol > 0, q - first, first - 1 - q))
    return Symbols(at.table, symbol + REACH, np.where(inside, at.n_digits, 0), digits, beyond)


def length_bits(s: Symbols) -> Floats:
    """Bits of each integer."""
    p = tables()[s.table, s.symbol].astype(np.float64)
    far = s.beyond >= 0
    return np.asarray(-np.log2(p) + s.n_digits + np.where(far, DIGIT_BITS + _n_digits(s.beyond), 0))


def _n_digits(n: Ints) -> Ints:
    return np.asarray(np.frexp(np.maximum(n, 0).astype(np.float64))[1].astype(np.int64))


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as e:
        raise ContractError(
            "writing and reading coded bytes needs the package 'constriction'; "
            "install brainfm-decoding[codec]"
        ) from e
    return constriction


class Writer:
    """Collects integers; `bytes` is all of them."""

    def __init__(self) -> None:
        stream = _constriction().stream
        self.family = stream.model.Categorical(perfect=False)
        self.coder = stream.queue.RangeEncoder()
        self.loose: list[NDArray[np.uint8]] = []

    def write(self, q: Ints, at: Place) -> None:
        """Integers (M,), in an order that the reader can follow."""
        if not len(q):
            return
        s = take_apart(q, at)
        self.coder.encode(s.symbol.astype(np.int32), self.family, tables()[s.table])
        far = s.beyond >= 0
        width = np.where(far, DIGIT_BITS + _n_digits(s.beyond), s.n_digits)
        # A freak's number of digits comes first.
        value = np.where(far, s.beyond + (_n_digits(s.beyond) << _n_digits(s.beyond)), s.digits)
        self.loose.append(_to_bits(value, width))

    def bytes(self) -> tuple[bytes, bytes]:
        """What the range coder wrote, and the loose digits."""
        loose = np.concatenate([*self.loose, np.zeros(0, np.uint8)])
        return self.coder.get_compressed().astype("<u4").tobytes(), np.packbits(loose).tobytes()


class Reader:
    """Gives back what a `Writer` wrote, for the same places in the same order.

    Raises
    ------
    ValueError
        If the bytes end too early.
    """

    def __init__(self, coded: bytes, loose: bytes) -> None:
        stream = _constriction().stream
        self.family = stream.model.Categorical(perfect=False)
        self.decoder = stream.queue.RangeDecoder(np.frombuffer(coded, "<u4").astype(np.uint32))
        self.bits = np.unpackbits(np.frombuffer(loose, np.uint8))
        self.at = 0

    def read(self, at: Place) -> Ints:
        """Integers (M,) of these places."""
        if not len(at.table):
            return np.zeros(0, np.int64)
        symbol = self.decoder.decode(self.family, tables()[at.table]).astype(np.int64) - REACH
        far = np.abs(symbol) == REACH
        q = (at.middle + symbol) << at.n_digits
        if not far.any():
            return np.asarray(q + self._take(at.n_digits))
        for i in range(len(q)):  # freaks say themselves how long they are
            if not far[i]:
                q[i] += int(self._take(at.n_digits[i : i + 1])[0])
                continue
            width = int(self._take(np.array([DIGIT_BITS]))[0])
            beyond = int(self._take(np.array([width]))[0])
            up = symbol[i] > 0
            first = int(at.middle[i] + (REACH if up else 1 - REACH)) << int(at.n_digits[i])
            q[i] = first + beyond if up else first - 1 - beyond
        return np.asarray(q)

    def _take(self, width: Ints) -> Ints:
        total = int(width.sum())
        if self.at + total > len(self.bits):
            raise ValueError("the coded numbers end too early")
        bits = self.bits[self.at : self.at + total]
        self.at += total
        return _from_bits(bits, width)


def _to_bits(value: Ints, width: Ints) -> NDArray[np.uint8]:
    """Binary digits of numbers, highest first, `width` of each, one after the other."""
    owner = np.repeat(np.arange(len(width)), width)
    left = np.repeat(np.cumsum(width), width) - np.arange(len(owner)) - 1
    return np.asarray((value[owner] >> left & 1).astype(np.uint8))


def _from_bits(bits: NDArray[np.uint8], width: Ints) -> Ints:
    owner = np.repeat(np.arange(len(width)), width)
    left = np.repeat(np.cumsum(width), width) - np.arange(len(owner)) - 1
    out = np.zeros(len(width), np.int64)
    np.add.at(out, owner, bits.astype(np.int64) << left)
    return out
