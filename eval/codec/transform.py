"""Classical coders: cosine, lapped and wavelet transforms, principal components, integers.

Each channel's standardised window is transformed (`eval.codec.bases`: DCT-II of blocks of a second,
the same lapped, or db4), each coefficient divided by one step for all and rounded with a dead zone,
and the integers coded with tables of their frequency band and of the size of the two coefficients
before, that were counted on training data.

Shapes: B windows, C channels, T samples, K coefficients, G groups of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.codec.bases import COSINE, LAPPED, N_BANDS, WAVELET, Basis
from eval.codec.coders import Coded
from eval.codec.entropy import IntegerTables
from eval.codec.lossless import lossless_bits, to_int16
from eval.codec.windows import Piece, Scaled, standardised

STEPS = (
    5.6,
    4.0,
    2.8,
    2.0,
    1.4,
    1.0,
    0.7,
    0.5,
    0.35,
    0.25,
    0.125,
    1 / 16,
    1 / 64,
    1 / 256,
    1 / 1024,
    *(2.0**-k for k in (12, 14, 16, 18)),
)
"""In standard deviations of the channel's window; an orthonormal transform keeps that unit."""
ROUNDING = 1 / 3
"""Less than a half: what lies near zero becomes zero, which costs least."""
MIDDLE = 20.0
"""A cell is decoded to its middle until about so many training coefficients say otherwise."""
N_SIZES = 12
"""Of the two coefficients before: zero, 1, 2-3, 4-7, ..."""
LOSSLESS_SHARES = (1 / 256, 1 / 16)
"""Steps of the lossless coder, of the median standard deviation of the training channels."""
MAX_RANKS = 6
"""Groups of principal components: 1, 2-3, 4-7, 8-15, ..."""

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def quantise(coefficient: Array, step: float) -> Ints:
    """Integers of coefficients; the zero's cell is a third wider than the others."""
    size = np.floor(np.abs(coefficient) / step + ROUNDING)
    return np.asarray((np.sign(coefficient) * size).astype(np.int64))


def sizes_before(q: Ints) -> Ints:
    """Binary digits of the size of the two integers before each one: what a decoder knows."""
    size = np.abs(q)
    before = np.zeros_like(size)
    before[..., 1:] += size[..., :-1]
    before[..., 2:] += size[..., :-2]
    return np.asarray(np.minimum(np.frexp(before.astype(float))[1], N_SIZES - 1).astype(np.int64))


class TransformCoder:
    """Cosine transform coder.

    Parameters
    ----------
    steps : one rate each
    """

    name, sort = "DCT", "baseline"
    basis: Basis = COSINE

    def __init__(self, steps: Sequence[float] = STEPS) -> None:
        self.steps = steps
        self.tables: dict[float, IntegerTables] = {}
        self.centre: dict[float, Array] = {}

    @property
    def n_groups(self) -> int:
        return N_BANDS

    def applies(self, piece: Piece) -> bool:
        """Whether training said what this recording needs."""
        return True

    def fit(self, pieces: Sequence[Piece]) -> None:
        """Count integers, and where coefficients lie in their cells, for every step."""
        made = [self._coefficients(p) for p in pieces if self.applies(p)]
        for step in self.steps:
            table = self.tables[step] = IntegerTables(self.n_groups * N_SIZES)
            sums, counts = np.zeros((2, self.n_groups)), np.zeros((2, self.n_groups))
            for coefficient, group, _ in made:
                q = quantise(coefficient, step)
                table.add(q, group * N_SIZES + sizes_before(q))
                size = np.abs(q)
                away = np.abs(coefficient) / step - size
                for i, cell in enumerate((size == 1, size > 1)):
                    where = group[cell]
                    sums[i] += np.bincount(where, away[cell], self.n_groups)
                    counts[i] += np.bincount(where, minlength=self.n_groups)
            self.centre[step] = (sums + MIDDLE * (0.5 - ROUNDING)) / (counts + MIDDLE)

    def code(self, piece: Piece) -> Iterator[Coded]:
        """One result a step."""
        coefficient, group, scaled = self._coefficients(piece)
        for step in self.steps:
            q = quantise(coefficient, step)
            bits = self.tables[step].bits(q, group * N_SIZES + sizes_before(q)) + scaled.bits
            size = np.abs(q)
            centre = self.centre[step][np.minimum(size, 2) - 1, group]
            value = np.where(size > 0, np.sign(q) * (size + centre) * step, 0.0)
            rec_BCT = scaled.back(self._signals(value, piece))
            yield Coded(f"step {step:.3g}", step, piece.x_BCT, rec_BCT, bits)

    def _coefficients(self, piece: Piece) -> tuple[Array, Ints, Scaled]:
        """Coefficients and groups of the valid channels, (M, K) each, and the scales."""
        scaled = standardised(piece)
        k_MK = self.basis.forward(scaled.x_BCT[piece.valid_BC], piece.sfreq)
        group_K = self.basis.bands(k_MK.shape[-1], piece.sfreq)
        return k_MK, np.broadcast_to(group_K, k_MK.shape), scaled

    def _signals(self, value_MK: Array, piece: Piece) -> Array:
        out = np.zeros(piece.x_BCT.shape)
        out[piece.valid_BC] = self.basis.back(value_MK, piece.sfreq)
        return out


class LappedCoder(TransformCoder):
    """The same with blocks that overlap by halves (MDCT, sine window)."""

    name = "MDCT"
    basis = LAPPED


class WaveletCoder(TransformCoder):
    """The same with db4 wavelets of the whole window; groups are its bands."""

    name = "wavelet"
    basis = WAVELET


class PrincipalCoder(TransformCoder):
    """The same after principal components across channels; for layouts that training shows.

    Components are those of the standardised training windows of a layout. Groups are frequency
    band and rank.
    """

    name = "PCA + DCT"

    def __init__(self, steps: Sequence[float] = STEPS) -> None:
        super().__init__(steps)
        self.turn: dict[str, Array] = {}

    @property
    def n_groups(self) -> int:
        return N_BANDS * MAX_RANKS

    def applies(self, piece: Piece) -> bool:
        return piece.layout in self.turn

    def fit(self, pieces: Sequence[Piece]) -> None:
        sums: dict[str, Any] = {}
        for piece in pieces:
            x = standardised(piece).x_BCT
            sums[piece.layout] = sums.get(piece.layout, 0.0) + np.einsum("bct,bdt->cd", x, x)
        for layout, covariance in sums.items():
            self.turn[layout] = np.linalg.eigh(covariance)[1].T[::-1]  # largest first
        super().fit(pieces)

    def _coefficients(self, piece: Piece) -> tuple[Array, Ints, Scaled]:
        scaled = standardised(piece)
        k_BCK = self.basis.forward(self.turn[piece.layout] @ scaled.x_BCT, piece.sfreq)
        rank_C = np.minimum(np.log2(np.arange(k_BCK.shape[1]) + 1).astype(int), MAX_RANKS - 1)
        group_CK = rank_C[:, None] * N_BANDS + self.basis.bands(k_BCK.shape[-1], piece.sfreq)
        return k_BCK, np.broadcast_to(group_CK, k_BCK.shape), scaled

    def _signals(self, value: Array, piece: Piece) -> Array:
        x_BCT = self.turn[piece.layout].T @ self.basis.back(value, piece.sfreq)
        return np.asarray(np.where(piece.valid_BC[..., None], x_BCT, 0.0))


class LosslessCoder:
    """Integers of a declared step, linear prediction and Rice codes (`eval.codec.lossless`)."""

    name, sort = "int16 + LPC", "baseline"

    def __init__(self, shares: Sequence[float] = LOSSLESS_SHARES) -> None:
        self.shares = shares
        self.unit: dict[int, float] = {}

    def fit(self, pieces: Sequence[Piece]) -> None:
        """The step's unit: median standard deviation of windows, by kind of channel."""
        std = np.concatenate([p.x_BCT[p.valid_BC].std(1) for p in pieces])
        kind = np.concatenate([kinds_of(p) for p in pieces])
        self.unit = {int(k): float(np.median(std[kind == k])) for k in np.unique(kind)}

    def applies(self, piece: Piece) -> bool:
        """Whether training holds all its kinds of channel."""
        return set(kinds_of(piece).tolist()) <= set(self.unit)

    def code(self, piece: Piece) -> Iterator[Coded]:
        """One result a step; the decoder gets every integer back."""
        unit_M = np.array([self.unit[int(k)] for k in kinds_of(piece)])[:, None]
        for share in sorted(self.shares, reverse=True):
            q_MT = to_int16(piece.x_BCT[piece.valid_BC], share * unit_M)
            rec_BCT = np.zeros(piece.x_BCT.shape)
            rec_BCT[piece.valid_BC] = q_MT * share * unit_M
            bits = float(lossless_bits(q_MT).sum())
            yield Coded(f"step 1/{1 / share:.0f}", share, piece.x_BCT, rec_BCT, bits)

    def stated(self) -> str:
        """What a step is, in SI units."""
        from brainfm.types import Kind

        shares = " and ".join(f"1/{1 / s:.0f}" for s in sorted(self.shares))
        finest = ", ".join(
            f"{Kind(k).name} {min(self.shares) * u:.3g}" for k, u in self.unit.items()
        )
        return (
            f"{self.name} keeps every integer; its steps are {shares} of the median standard "
            f"deviation of training channels, the finer one in SI units: {finest}."
        )


def kinds_of(piece: Piece) -> Ints:
    """Kind of every valid channel and window, (M,)."""
    kind_BC = np.broadcast_to(np.asarray(piece.channels.kind), piece.valid_BC.shape)
    return np.asarray(kind_BC[piece.valid_BC].astype(np.int64))


class Zero:
    """The mean of each window, which is not charged: what everything must beat."""

    name, sort = "zero", "control"

    def applies(self, piece: Piece) -> bool:
        return True

    def fit(self, pieces: Sequence[Piece]) -> None:
        """Nothing to learn."""

    def code(self, piece: Piece) -> Iterator[Coded]:
        mean = piece.x_BCT.mean(2, keepdims=True)
        yield Coded("mean", 0.0, piece.x_BCT, np.broadcast_to(mean, piece.x_BCT.shape), 0.0)
