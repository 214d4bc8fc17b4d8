"""Orthonormal bases that transform coders round in: cosines, lapped cosines, wavelets.

Each turns a window into as many coefficients, with the same energy, and names the frequency band
of each. Arrays keep their axes before the last.

Shapes: C channels, T samples, K coefficients (K = T).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from brainfm.nn.wavelet import DB4_LOW

BLOCK_S = 1.0
N_BANDS = 16
"""Half octaves, from the lowest coefficients on."""

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


class Basis(NamedTuple):
    """A transform, its inverse, and the bands of its coefficients.

    Attributes
    ----------
    forward, back : (signal or coefficients, sfreq) -> the other
    bands : (samples, sfreq) -> group of each coefficient, (K,)
    """

    forward: Callable[[Array, float], Array]
    back: Callable[[Array, float], Array]
    bands: Callable[[int, float], Ints]


def blocks(n_samples: int, sfreq: float) -> list[slice]:
    """Blocks of `BLOCK_S`; the last one takes what is left, if that is at least half a block."""
    size = min(n_samples, max(2, round(BLOCK_S * sfreq)))
    starts = list(range(0, n_samples - size // 2, size)) or [0]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], n_samples], strict=True)]


def cosines(x: Array, sfreq: float, inverse: bool = False, sort: int = 2) -> Array:
    """Block by block a DCT of a sort (II or IV), or back."""
    from scipy.fft import dct, idct

    turn = idct if inverse else dct
    parts = [turn(x[..., s], sort, norm="ortho", axis=-1) for s in blocks(x.shape[-1], sfreq)]
    return np.concatenate(parts, -1)


def lap(x: Array, sfreq: float, inverse: bool = False) -> Array:
    """Fold each block's ends into its neighbour's with a sine window, or unfold them.

    Between two blocks, samples at equal distances from the border are turned by an angle; a DCT-IV
    of what results is the modified cosine transform (Princen, Johnson and Bradley, ICASSP 1987).
    The ends of the window are not folded.
    """
    x = x.copy()
    cuts = blocks(x.shape[-1], sfreq)
    for left, right in zip(cuts, cuts[1:], strict=False):
        # Blocks of unequal length share as many samples as the shorter one can give to a side.
        n = min(left.stop - left.start, right.stop - right.start) // 2
        angle = np.pi / 4 * (1 + (np.arange(n) + 0.5) / n)
        c, s = np.cos(angle), np.sin(angle)
        before, after = slice(left.stop - n, left.stop), slice(left.stop, left.stop + n)
        u, v = x[..., before][..., ::-1].copy(), x[..., after].copy()
        turn = -c if inverse else c
        u_new, v_new = s * u - turn * v, s * v + turn * u
        x[..., before], x[..., after] = u_new[..., ::-1], v_new
    return x


def cosine_bands(n_samples: int, sfreq: float) -> Ints:
    """Group of each coefficient by its frequency in half octaves from .5 Hz."""
    sizes = [s.stop - s.start for s in blocks(n_samples, sfreq)]
    return half_octaves(np.concatenate([np.arange(n) * sfreq / 2 / n for n in sizes]))


def half_octaves(hz: Array) -> Ints:
    group = np.ceil(2 * np.log2(np.maximum(hz, 0.5) / 0.5))
    return np.asarray(np.clip(group, 0, N_BANDS - 1).astype(np.int64))


def wavelet_sizes(n_samples: int) -> list[int]:
    """Coefficients of each band, coarsest first: halves as long as they are even and hold a db4."""
    sizes = []
    while n_samples % 2 == 0 and n_samples >= 2 * len(DB4_LOW):
        n_samples //= 2
        sizes.append(n_samples)
    return [n_samples, *reversed(sizes)]


def _taps(n: int) -> tuple[Ints, Array, Array]:
    """Samples that each pair of coefficients sees, and the weights of either."""
    low = np.array(DB4_LOW)
    at = (2 * np.arange(n // 2)[:, None] + np.arange(len(low))) % n
    return at, low, low[::-1] * (-1.0) ** np.arange(len(low))


def wavelet(x: Array, sfreq: float) -> Array:
    """db4 with circular ends, bands side by side from coarse to fine."""
    details: list[Array] = []
    low = np.asarray(x, float)
    for _ in wavelet_sizes(x.shape[-1])[1:]:
        at, smooth, rough = _taps(low.shape[-1])
        seen = low[..., at]
        low, detail = seen @ smooth, seen @ rough
        details.append(detail)
    return np.concatenate([low, *reversed(details)], -1)


def from_wavelet(k: Array, sfreq: float) -> Array:
    """Inverse of `wavelet`."""
    sizes = wavelet_sizes(k.shape[-1])
    low, first = k[..., : sizes[0]], sizes[0]
    for size in sizes[1:]:
        at, smooth, rough = _taps(2 * size)
        detail = k[..., first : first + size]
        first += size
        x = np.zeros((*k.shape[:-1], 2 * size))
        for tap in range(at.shape[1]):  # a tap sees every sample once at most
            x[..., at[:, tap]] += low * smooth[tap] + detail * rough[tap]
        low = x
    return low


def wavelet_bands(n_samples: int, sfreq: float) -> Ints:
    """One group a band: the coarsest one the number 0."""
    sizes: Any = wavelet_sizes(n_samples)
    return np.asarray(np.minimum(np.repeat(np.arange(len(sizes)), sizes), N_BANDS - 1))


COSINE = Basis(cosines, lambda k, sfreq: cosines(k, sfreq, inverse=True), cosine_bands)
LAPPED = Basis(
    lambda x, sfreq: cosines(lap(x, sfreq), sfreq, sort=4),
    lambda k, sfreq: lap(cosines(k, sfreq, inverse=True, sort=4), sfreq, inverse=True),
    cosine_bands,
)
WAVELET = Basis(wavelet, from_wavelet, wavelet_bands)
