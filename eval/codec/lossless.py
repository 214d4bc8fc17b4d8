"""A lossless coder in the manner of FLAC: integers, linear prediction, Rice codes; exact lengths.

Each channel's window is predicted sample by sample from those before, by the shorter of a fixed
polynomial of order 0 to 4 and a fitted predictor, and what is left is written as Rice codes, whose
parameter is chosen every `PARTITION` samples (RFC 9639 describes FLAC; the format here is our own).

Shapes: M signals, T samples, O orders.
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

FIXED_ORDERS = 5
LPC_ORDER = 8
LPC_BITS = 12
"""Bits of a fitted coefficient, a multiple of 2 ** -LPC_SHIFT."""
LPC_SHIFT = 9
PARTITION = 256
"""Samples that share a Rice parameter."""
PARAMETER_BITS = 4
MODE_BITS = 3
"""Which predictor."""
SAMPLE_BITS = 16
"""Of the first samples, which nothing predicts."""


def to_int16(x_MT: NDArray[np.floating[Any]], step: NDArray[Any] | float) -> Ints:
    """Nearest multiples of `step` that 16 bits hold."""
    return np.asarray(np.clip(np.rint(x_MT / step), -32768, 32767).astype(np.int64))


def zigzag(residual: Ints) -> Ints:
    """0, -1, 1, -2, ... to 0, 1, 2, 3, ..."""
    return np.asarray(np.where(residual >= 0, 2 * residual, -2 * residual - 1))


def rice_bits(value: Ints, parameter: int | Ints) -> Ints:
    """Length of each Rice code: the high part in ones, a zero, `parameter` low bits."""
    return np.asarray((value >> parameter) + 1 + parameter)


def partition_bits(residual_MT: Ints) -> Ints:
    """Length of residuals with the best parameter in each partition, parameters included, (M,)."""
    value = zigzag(residual_MT)
    total = np.zeros(len(value), np.int64)
    for start in range(0, value.shape[1], PARTITION):
        part = value[:, start : start + PARTITION]
        lengths = [rice_bits(part, k).sum(1) for k in range(2**PARAMETER_BITS)]
        total += PARAMETER_BITS + np.min(lengths, 0)
    return total


def fixed_residual(x_MT: Ints, order: int) -> Ints:
    """Differences of an order, without the first samples: (M, T - order)."""
    return np.diff(x_MT, order, axis=1)


def fitted_coefficients(x_MT: Ints) -> Ints:
    """Predictor of order `LPC_ORDER` in multiples of 2 ** -LPC_SHIFT, nearest sample first."""
    x = x_MT - x_MT.mean(1, keepdims=True)
    x = x * np.hanning(x.shape[1])
    n, order = x.shape[1], LPC_ORDER
    lag = np.stack([(x[:, : n - k] * x[:, k:]).sum(1) for k in range(order + 1)], 1)
    # A touch of white noise keeps the equations solvable for sines and flat stretches.
    lag[:, 0] = lag[:, 0] * (1 + 1e-9) + 1e-9
    at = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    a = np.linalg.solve(lag[:, at], lag[:, 1:, None])[..., 0]
    most = 2 ** (LPC_BITS - 1)
    return np.asarray(np.clip(np.rint(a * 2**LPC_SHIFT), -most, most - 1).astype(np.int64))


def fitted_residual(x_MT: Ints, coefficient_MO: Ints) -> Ints:
    """What the fitted predictor leaves, without the first samples: (M, T - O)."""
    n, order = x_MT.shape[1], coefficient_MO.shape[1]
    sums = sum(
        coefficient_MO[:, k, None] * x_MT[:, order - 1 - k : n - 1 - k] for k in range(order)
    )
    return np.asarray(x_MT[:, order:] - (sums >> LPC_SHIFT))


def from_fitted_residual(first_MO: Ints, residual_MR: Ints, coefficient_MO: Ints) -> Ints:
    """Inverse of `fitted_residual`, given the first samples."""
    order = coefficient_MO.shape[1]
    x = np.concatenate([first_MO, residual_MR], 1)
    for t in range(order, x.shape[1]):
        before = x[:, t - order : t][:, ::-1]
        x[:, t] += (coefficient_MO * before).sum(1) >> LPC_SHIFT
    return x


def from_fixed_residual(first_MO: Ints, residual_MR: Ints) -> Ints:
    """Inverse of `fixed_residual`, given the first samples."""
    order = first_MO.shape[1]
    x = np.concatenate([first_MO, residual_MR], 1)
    for t in range(order, x.shape[1]):
        before = (x[:, t - k] * (-1) ** (k + 1) * comb(order, k) for k in range(1, order + 1))
        x[:, t] += sum(before)
    return x


def lossless_bits(x_MT: Ints) -> Ints:
    """Bits of each signal, (M,): predictor, first samples, parameters, residuals.

    Parameters
    ----------
    x_MT : what `to_int16` gives; more than `LPC_ORDER` samples
    """
    lengths = [
        order * SAMPLE_BITS + partition_bits(fixed_residual(x_MT, order))
        for order in range(FIXED_ORDERS)
    ]
    left = fitted_residual(x_MT, fitted_coefficients(x_MT))
    lengths.append(LPC_ORDER * (SAMPLE_BITS + LPC_BITS) + partition_bits(left))
    return np.asarray(MODE_BITS + np.min(lengths, 0))
