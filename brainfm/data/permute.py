"""A seeded permutation of any length that is computed where it is asked, never stored.

`torch.randperm(1e8)` takes 3 s and 800 MB; this takes neither, and position k of epoch e can be
had without the positions before it. That makes resume a matter of arithmetic.
"""

import hashlib
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS = 8
"""Feistel rounds. Four do for large domains (Luby and Rackoff 1988); small ones want more."""


def key_of(*parts: object) -> int:
    """64-bit key of anything printable, the same on every machine."""
    text = "\0".join(str(p) for p in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bits that look random, one word in and one word out (splitmix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def permute(position: ArrayLike, n: int, key: int) -> NDArray[np.int64]:
    """Where the permutation of 0 to n - 1 that `key` chooses sends each position.

    A Feistel network on a rectangle that holds n with at most a row to spare: each round shifts
    columns by a hash of the row, or rows by a hash of the column. Results outside are sent
    through again (cycle walking), which is rare.

    Parameters
    ----------
    position : integers in 0 to n - 1
    n : length of the permutation
    key : which permutation (see `key_of`)
    """
    n_rows = math.isqrt(max(n - 1, 0)) + 1
    rows, columns = np.uint64(n_rows), np.uint64(-(-n // n_rows))
    with np.errstate(over="ignore"):
        keys = mix(np.uint64(key) + np.arange(1, ROUNDS + 1, dtype=np.uint64) * GOLDEN)
        x = np.array(position, np.uint64).reshape(-1)
        outside = np.arange(len(x))
        while len(outside):
            row, column = x[outside] // columns, x[outside] % columns
            for even, odd in zip(keys[::2], keys[1::2], strict=True):
                row = (row + mix(column + even)) % rows
                column = (column + mix(row + odd)) % columns
            x[outside] = row * columns + column
            outside = outside[x[outside] >= np.uint64(n)]
    return x.astype(np.int64)


def uniform(index: ArrayLike, key: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each index, a pure function of index and key."""
    with np.errstate(over="ignore"):
        x = mix(mix(np.asarray(index, np.uint64) * GOLDEN + np.uint64(key)))
    return np.asarray((x >> np.uint64(11)).astype(np.float64) / 2**53)


GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio: spreads neighbouring numbers apart."""
