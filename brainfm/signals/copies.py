"""Channels that are one another's lagged or scaled copies: one electrode posing as several.

A reshape with the wrong stride, a bridged cap or an average reference over two electrodes all
yield data that look like many channels and hold one. Correlation alone does not tell: neighbours
on the scalp share most of their signal, drifts and line noise correlate at many lags.

Shapes: C channels, L samples of a stretch, S stretches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CopyConfig:
    threshold: float = 0.9999
    """Correlation of a copy: at most 1.4 % of the amplitude differs."""
    whitened: float = 0.999
    """Correlation that first differences must have too: a shared slow drift has no such."""
    lagged: float = 0.999
    """The same at any other lag: nothing in a head repeats a signal there, so copies through
    another converter, with its noise, count too."""
    lagged_whitened: float = 0.99
    """For first differences at any other lag."""
    periodic: float = 0.98
    """A lag at which a channel resembles itself this much proves nothing (line noise, drift)."""
    max_lag: int = 256
    """Samples; a wrong stride shifts by the number of channels."""
    stretch: int = 512
    """Samples compared at once."""
    n_stretches: int = 24
    """Stretches compared for candidates found on the first four."""
    share: float = 0.3
    """Share of the stretches that must match: joins of trials that nobody marked break some."""
    equal_share: float = 0.3
    """Share of samples at which neighbouring rows must be equal to the digit at one lag."""
    equal_elsewhere: float = 0.03
    """Largest usual share of equal samples at other lags: coarse steps make some by chance."""
    min_overlap: int = 8
    """Samples of a stretch that must overlap at a lag (trials may be as short as the lag)."""
    min_evidence: int = 100
    """Samples that must overlap over all stretches."""
    common_mode_from: int = 8
    """From this many channels on, the mean over channels is regressed out before lag 0 is
    judged: unreferenced EEG is 99.99 % common mode."""


@dataclass(frozen=True)
class Copy:
    """`copy[t] = scale * original[t + lag]`, by column number."""

    original: int
    copy: int
    lag: int
    scale: float


def find_copies(
    x_TC: NDArray[np.floating],
    intervals: list[tuple[int, int]] | None = None,
    config: CopyConfig | None = None,
) -> list[Copy]:
    """All pairs of channels of which one repeats the other, scaled and maybe shifted.

    Parameters
    ----------
    x_TC : the signal as recorded, before any resampling; flat channels are skipped
    intervals : (start, stop) samples no comparison may cross; trials
    config : thresholds

    Returns
    -------
    list of Copy, at most one a pair
    """
    config = config or CopyConfig()
    n_T, n_C = x_TC.shape
    stretches = _stretches(intervals or [(0, n_T)], config)
    if n_C < 2 or not stretches:
        return []
    first = _Stack(x_TC, _spread(stretches, 4), config)
    candidates = first.candidates()
    found: dict[tuple[int, int], Copy] = {}
    if candidates:
        stack = _Stack(x_TC, _spread(stretches, config.n_stretches), config)
        for i, j in candidates:
            copy = stack.judge(i, j)
            if copy is not None:
                found[i, j] = copy
    for copy in _equal_neighbours(x_TC, intervals or [(0, n_T)], config):
        found.setdefault((copy.original, copy.copy), copy)
    return [found[pair] for pair in sorted(found)]


def _equal_neighbours(
    x_TC: NDArray[np.floating], intervals: list[tuple[int, int]], config: CopyConfig
) -> list[Copy]:
    """Rows equal to their neighbour, digit by digit, at one lag and for much of the time.

    Finds a wrong stride in short trials that were joined without a mark: no stretch is a copy
    throughout, but at the shift of the stride far more samples are equal than at any other.
    """
    spans = [(a, b) for a, b in intervals if b - a > 2 * config.min_overlap]
    spans = _spread(spans, 8) if len(spans) > 8 else spans
    pieces = [x_TC[a : min(b, a + 4096)] for a, b in spans]
    out: list[Copy] = []
    for i in range(x_TC.shape[1] - 1):
        lead = [np.asarray(p[:, i], np.float64) for p in pieces]
        trail = [np.asarray(p[:, i + 1], np.float64) for p in pieces]
        near = 1e-5 * float(np.median([p.std() for p in lead]) if lead else 0.0)
        if near == 0 or not np.isfinite(near):
            continue
        longest = max(len(p) for p in lead)
        equal = np.zeros(max(2, min(config.max_lag, longest - config.min_overlap)))
        total = np.zeros_like(equal)
        for a, b in zip(lead, trail, strict=True):
            for lag in range(1, min(len(equal), len(a) - config.min_overlap)):
                same = np.abs(a[lag:] - b[: len(b) - lag]) < near
                equal[lag] += same.sum()
                total[lag] += same.size
        share = np.divide(equal, total, out=np.zeros_like(equal), where=total > 0)
        lag = int(share.argmax())
        usual = float(np.median(share[1:]))
        if (
            lag > 0
            and share[lag] > config.equal_share
            and usual < config.equal_elsewhere
            and equal[lag] > config.min_evidence
        ):
            out.append(Copy(i, i + 1, lag, 1.0))
    return out


def groups(copies: list[Copy]) -> list[list[int]]:
    """Columns tied together by copies, each group sorted; the first is the one to keep."""
    parent: dict[int, int] = {}

    def root(i: int) -> int:
        parent.setdefault(i, i)
        while parent[i] != i:
            i = parent[i]
        return i

    for c in copies:
        a, b = root(c.original), root(c.copy)
        parent[max(a, b)] = min(a, b)
    out: dict[int, list[int]] = {}
    for i in sorted(parent):
        out.setdefault(root(i), []).append(i)
    return list(out.values())


class _Stack:
    """Stretches of all channels, de-meaned, with what normalised correlation needs."""

    def __init__(
        self, x_TC: NDArray[np.floating], spans: list[tuple[int, int]], config: CopyConfig
    ) -> None:
        self.config = config
        length = min(b - a for a, b in spans)
        x_SCL = np.stack([np.asarray(x_TC[a : a + length], np.float64).T for a, b in spans])
        x_SCL -= x_SCL.mean(-1, keepdims=True)
        # Unit size, so that sums of squares of volts (1e-10) and teslas (1e-26) behave alike.
        size = np.sqrt((x_SCL**2).mean((0, 2), keepdims=True))
        self.alive = (size.ravel() > 0) & np.isfinite(size.ravel())
        self.size = np.where(size > 0, size, 1.0).ravel()
        self.x = np.nan_to_num(x_SCL / np.where(size > 0, size, 1.0))
        n_lag = min(config.max_lag, length - config.min_overlap)
        needed = int(np.ceil(config.min_evidence / len(spans)))
        self.n_lag = max(1, min(n_lag, length - needed + 1) if length > needed else 1)
        self.n_fft = 1 << int(np.ceil(np.log2(length + self.n_lag)))
        self.length = length
        lags = np.arange(self.n_lag)
        self.overlap = length - lags
        self.thresholds = np.where(lags > 0, config.lagged, config.threshold)
        cum = np.concatenate([np.zeros((*self.x.shape[:2], 1)), np.cumsum(self.x, -1)], -1)
        cum2 = np.concatenate([np.zeros((*self.x.shape[:2], 1)), np.cumsum(self.x**2, -1)], -1)
        # Leading: x[t + lag], t from 0; trailing: x[t] up to length - lag.
        self.lead, self.lead2 = cum[..., -1:] - cum[..., lags], cum2[..., -1:] - cum2[..., lags]
        self.trail, self.trail2 = cum[..., length - lags], cum2[..., length - lags]
        self.fourier = np.fft.rfft(self.x, self.n_fft)

    def correlation(self, i: int, rows: NDArray[np.intp] | slice) -> NDArray[np.float64]:
        """Of x_i[t + lag] with x_rows[t] in each stretch, (S, R, lags)."""
        cross = np.fft.irfft(self.fourier[:, i, None] * self.fourier[:, rows].conj(), self.n_fft)
        product = self.lead[:, i, None] * self.trail[:, rows]
        cov = cross[..., : self.n_lag] - product / self.overlap
        var_i = (self.lead2[:, i] - self.lead[:, i] ** 2 / self.overlap)[:, None]
        var_j = self.trail2[:, rows] - self.trail[:, rows] ** 2 / self.overlap
        norm = np.sqrt(np.maximum(var_i, 0) * np.maximum(var_j, 0))
        # Where next to nothing varies in the overlap, rounding would decide.
        floor = 1e-6 * self.overlap
        return np.divide(cov, norm, out=np.zeros_like(cov), where=norm > floor)

    def candidates(self) -> list[tuple[int, int]]:
        """Ordered pairs (i, j), i leading, that come near the threshold at some lag."""
        loose = 1 - 3 * (1 - self.thresholds)
        rows = np.flatnonzero(self.alive)
        out: list[tuple[int, int]] = []
        for i in rows:
            near = (np.abs(self.correlation(int(i), rows)) > loose).mean(0)
            near[rows == i] = 0.0
            out += [(int(i), int(j)) for j in rows[(near >= self.config.share / 2).any(1)]]
        return out

    def judge(self, i: int, j: int) -> Copy | None:
        """Decide on one ordered pair with all stretches; lag 0 is judged once, for i < j."""
        config = self.config
        r_SL = np.abs(self.correlation(i, np.array([j]))[:, 0])
        match_SL = r_SL > self.thresholds
        evidence = match_SL.sum(0) * self.overlap
        enough = (match_SL.mean(0) >= config.share) & (evidence >= config.min_evidence)
        # The lag at which they are most alike, not the first that will do.
        best = np.argsort(-np.where(enough, np.median(r_SL, axis=0), -1.0), kind="stable")
        lags = [int(lag) for lag in best[: int(enough.sum())]]
        own_SL = np.abs(self.correlation(i, np.array([i]))[:, 0]) if lags else r_SL
        for lag in lags:
            rows = np.flatnonzero(match_SL[:, lag])
            if lag == 0 and i > j:
                continue
            if lag > 0 and np.median(own_SL[rows, lag]) > config.periodic:
                continue
            a, b = self._overlapping(i, j, lag, rows)
            least = config.lagged_whitened if lag else config.whitened
            if abs(_corr(np.diff(a, axis=-1), np.diff(b, axis=-1))) < least:
                continue
            if lag == 0 and not self._beyond_common_mode(i, j, rows):
                continue
            scale = float((a * b).sum() / (a * a).sum() * self.size[j] / self.size[i])
            return Copy(i, j, lag, scale)
        return None

    def _overlapping(
        self, i: int, j: int, lag: int, stretches: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        a, b = self.x[stretches, i, lag:], self.x[stretches, j, : self.length - lag]
        return a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)

    def _beyond_common_mode(self, i: int, j: int, stretches: NDArray[np.intp]) -> bool:
        rows = np.flatnonzero(self.alive)
        if rows.size < self.config.common_mode_from:
            return True
        # In data units: a common mode is the same voltage everywhere.
        shared = (self.x[stretches][:, rows] * self.size[rows, None]).mean(1).ravel()
        shared = shared / (np.sqrt((shared**2).mean()) or 1.0)
        rest = []
        for k in (i, j):
            x = self.x[stretches, k].ravel()
            rest.append(x - (x @ shared) / (shared @ shared or 1.0) * shared)
        # Nothing but the common mode in either: both are its copies.
        if min(r.std() for r in rest) < 1e-6:
            return max(r.std() for r in rest) < 1e-6
        return abs(_corr(*rest)) > self.config.whitened


def _corr(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def _stretches(intervals: list[tuple[int, int]], config: CopyConfig) -> list[tuple[int, int]]:
    spans = [(a, b) for a, b in intervals if b - a >= 2 * config.min_overlap]
    cut: list[tuple[int, int]] = []
    for a, b in spans:
        n = max(1, (b - a) // config.stretch)
        edges = np.linspace(a, b, n + 1).astype(int) if b - a > config.stretch else (a, b)
        cut += [(int(p), int(q)) for p, q in zip(edges[:-1], edges[1:], strict=True)]
    if not cut:
        return []
    # Stretches are stacked, so the few much shorter than the others stay out.
    usual = int(np.median([b - a for a, b in cut]))
    return [(a, b) for a, b in cut if b - a >= 0.9 * usual]


def _spread(spans: list[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    if not spans:
        return spans
    length = min(b - a for a, b in spans)
    n = max(n, int(np.ceil(n * 256 / max(length, 1))))
    pick = np.unique(np.linspace(0, len(spans) - 1, min(n, len(spans))).astype(int))
    return [spans[i] for i in pick]
