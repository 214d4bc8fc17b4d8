"""From the power of currents to frames of fMRI: a delay of some five seconds, then a scanner.

Shapes: P parcels, T steps at `HZ`, F frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types import Event

HZ = 10.0
"""Steps a second of drive and response; the response has nothing above half a hertz."""
RESPONSE_S = 32.0
"""How long a response is followed."""
GLOVER = (6.0, 0.9, 12.0, 0.9, 0.35)
"""n1, t1, n2, t2, a2 of Glover's response to a second of sound (NeuroImage 9, 1999), as the
documentation of nipy and fmristat quote them."""
BASE_AU = 1000.0
"""Mean of a parcel, in a scanner's units; percent are of this."""


@dataclass(frozen=True)
class Scanner:
    """How blood is seen."""

    tr_s: float = 2.0
    """From frame to frame."""
    dummies: int = 0
    """Frames thrown away at the start."""
    percent: float = 1.5
    """Change of the signal where the power of the currents grows e-fold and stays."""
    thermal_percent: float = 0.3
    """Deviation from frame to frame of a parcel's mean."""
    drift_percent: float = 0.5
    """Size of slow drifts: a slope and a wave that lasts as long as the run."""
    spikes_per_min: float = 0.2
    """How often somebody moves; a frame or two are then some percent off, everywhere."""

    def __post_init__(self) -> None:
        if not 0.05 <= self.tr_s <= 20:
            raise DataError(
                f"a TR of {self.tr_s:g} s; it must lie in 0.05 to 20 s, so divide milliseconds by "
                "1000"
            )
        if self.dummies < 0:
            raise DataError(f"{self.dummies} dummies; ask for none or more")

    def frame_times(self, seconds: float) -> NDArray[np.float64]:
        """When frames are taken, on the clock of the run: the middle of each TR."""
        whole = np.arange(self.dummies, int(seconds / self.tr_s + 1e-9), dtype=np.float64)
        return np.asarray((whole + 0.5) * self.tr_s)


def glover_hrf(stretch: float = 1.0, hz: float = HZ) -> NDArray[np.float64]:
    """Response to one brief event, (T,), sum 1; `stretch` makes it slower."""
    t = np.arange(0, RESPONSE_S, 1 / hz) / stretch
    n1, t1, n2, t2, a2 = GLOVER

    def bump(n: float, scale: float) -> NDArray[np.float64]:
        peak = n * scale
        return np.asarray((t / peak) ** n * np.exp(-(t - peak) / scale))

    out = bump(n1, t1) - a2 * bump(n2, t2)
    return np.asarray(out / out.sum())


def hrf_lag_s(stretch: float = 1.0) -> float:
    """When the response to a brief event peaks: the lag of BOLD behind what drives it."""
    return float(glover_hrf(stretch, 100.0).argmax() / 100.0)


def drive(moment_PT: NDArray[np.floating], sfreq: float) -> NDArray[np.float64]:
    """Logarithm of each parcel's power over its mean, (P, steps at `HZ`).

    Power is that of the slope: currents are 1/f, and BOLD follows their fast part at least as
    much as their slow one. The logarithm keeps a seizure from counting a hundred times.
    """
    square = np.diff(moment_PT, axis=1, prepend=moment_PT[:, :1]).astype(np.float64) ** 2
    edges = np.minimum(np.round(np.arange(0, square.shape[1] * HZ / sfreq) * sfreq / HZ), 1e12)
    starts = edges.astype(np.intp)[edges < square.shape[1]]
    counts = np.diff(starts, append=square.shape[1])
    power = np.add.reduceat(square, starts, axis=1) / counts
    # A tenth of a second holds few cycles of anything slow: half a second steadies its logarithm.
    steady = np.stack([np.convolve(p, np.full(5, 0.2), "same") for p in power])
    level = np.log(steady + 1e-3 * steady.mean(1, keepdims=True) + 1e-300)
    return np.asarray(level - np.median(level, axis=1, keepdims=True))


def response(drive_PT: NDArray[np.floating], stretch: float = 1.0) -> NDArray[np.float64]:
    """Haemodynamic response to a drive, (P, T): before the run, nothing is going on."""
    from scipy.signal import fftconvolve

    hrf = glover_hrf(stretch)[None]
    return np.asarray(fftconvolve(drive_PT, hrf, axes=1)[:, : drive_PT.shape[1]])


def frames(response_PT: NDArray[np.floating], time_F: NDArray[np.floating]) -> NDArray[np.float64]:
    """A response at the times of frames, (F, P), whatever their rate."""
    steps_s = np.arange(response_PT.shape[1]) / HZ
    return np.stack([np.interp(time_F, steps_s, row) for row in response_PT], 1)


def scan(
    response_PT: NDArray[np.floating],
    scanner: Scanner,
    seconds: float,
    rng: np.random.Generator,
    noise: float = 1.0,
) -> tuple[NDArray[np.float32], list[Event]]:
    """Frames as a scanner delivers them, and when somebody moved.

    Parameters
    ----------
    noise : multiplies all that is no response

    Returns
    -------
    frames : (F, P) arbitrary units round `BASE_AU`
    events : "motion", seconds from the first frame
    """
    time_F = scanner.frame_times(seconds)
    many = response_PT.shape[0]
    x_FP = scanner.percent * frames(response_PT, time_F)
    share = time_F / max(seconds, 1e-9)
    size_2P = noise * scanner.drift_percent * rng.normal(size=(2, many))
    x_FP += np.outer(share - 0.5, size_2P[0]) + np.outer(np.cos(2 * np.pi * share), size_2P[1])
    events = []
    for _ in range(rng.poisson(scanner.spikes_per_min * seconds / 60) if noise else 0):
        at_s, off_P = rng.uniform(0, seconds), rng.normal(1.5, 0.7, many)
        since = time_F - at_s
        # The frame that is hit, and what it leaves in the next.
        fades = np.where(since >= 0, np.exp(-since.clip(0) / (0.6 * scanner.tr_s)), 0)
        x_FP += noise * np.outer(fades, off_P)
        if len(time_F) and since[0] <= 0 <= since[-1]:
            events.append(Event(float(at_s - time_F[0]), 2 * scanner.tr_s, "motion"))
    x_FP += noise * scanner.thermal_percent * rng.normal(size=x_FP.shape)
    return (BASE_AU * (1 + x_FP / 100)).astype(np.float32), sorted(events)
