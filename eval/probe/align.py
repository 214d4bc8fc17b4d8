"""Spatial alignment: one matrix a data set that makes its sensors uncorrelated on average.

Shapes: N trials, C channels, T samples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from brainfm.types import Channels


class EuclideanAlignment:
    """Multiply each trial by the inverse square root of the mean covariance (He and Wu 2020).

    IEEE TBME 67(2), 399. Symmetric, so that every output stays closest to its own sensor and
    keeps its position. Neighbouring sensors share most of their variance; what tells classes
    apart is often in their small differences, which this brings to the size of the rest.
    Labels take no part; the matrix comes from the training trials alone. Each channel kind is
    aligned by itself.

    Parameters
    ----------
    shrink : share of the mean variance added to the diagonal, so that dead or interpolated
        channels are not blown up
    """

    def __init__(self, shrink: float = 1e-3) -> None:
        self.shrink = shrink

    def fit(self, x_NCT: NDArray, channels: Channels) -> EuclideanAlignment:
        """Learn the matrix from training trials, each scaled to unit deviation per kind."""
        self.matrix_CC = np.zeros((len(channels), len(channels)))
        for kind in np.unique(channels.kind):
            rows = np.flatnonzero(channels.kind == kind)
            x = x_NCT[:, rows].astype(np.float64)
            std_N = x.std((1, 2), keepdims=True)
            x = x / np.where(std_N > 0, std_N, 1.0)
            c = np.einsum("nct,ndt->cd", x, x) / (x.shape[0] * x.shape[2])
            c += (self.shrink * np.trace(c) / len(c) + 1e-12) * np.eye(len(c))
            w, v = np.linalg.eigh(c)
            self.matrix_CC[np.ix_(rows, rows)] = (v / np.sqrt(w)) @ v.T
        # One number for all trials: amplitudes of trials stay comparable.
        self.unit = 1.0 / max(float(np.abs(x_NCT).mean()), float(np.finfo(np.float32).tiny))
        return self

    def transform(self, x_NCT: NDArray) -> NDArray[np.float32]:
        """Aligned trials; the unit is no longer the sensors' (see `unitless`)."""
        return np.matmul(self.matrix_CC, x_NCT * np.float64(self.unit)).astype(np.float32)


def unitless(channels: Channels) -> Channels:
    """The same sensors in arbitrary units, for signals that have been aligned."""
    return replace(channels, unit=("au",) * len(channels))
