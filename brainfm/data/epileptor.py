"""Seizures of a network of Epileptors: who starts, who follows after how long, and what it emits.

Every node is an Epileptor (Jirsa et al., Brain 137, 2014): a fast population that discharges, a
slower one that makes spikes and waves, and a permittivity z that decides between rest and seizure.
Nodes couple through z (Proix et al., J Neurosci 34, 2014; Brain 140, 2017), so that a focus
recruits its neighbours after delays that follow from the network.

The model has no unit of time. A seizure is integrated in the model's own time from shortly before
its onset until every node rests again, and is then played by a clock that makes it last as many
seconds, and discharge as fast, as wanted. Integrating hours would leave both to chance.

Shapes: S seizures, N nodes, T kept samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

STEP = 0.05
"""Integration step in units of model time; 0.1 is unstable where a node rests after a seizure."""
KEEP = 8
"""Every so many steps one is kept; a discharge is about 2 units wide."""
DISCHARGE, WAVE = 5.2, 36.0
"""Units between two fast discharges and between two spike-waves: spectral peaks of a seizure."""
FOLD_X, FOLD_Z = -4 / 3, 4.1 - 2 * (4 / 3) ** 2 + (4 / 3) ** 3
"""Where rest ends: the fold of z = 4.1 - 2 x^2 - x^3, the fast population's resting states."""
EPILEPTOGENIC = FOLD_X - FOLD_Z / 4
"""x0 (about -2.06) above which a node has seizures on its own."""
NOISE = 0.045
"""Of the second population: variance 2e-3 a unit, as in Jirsa et al."""
ONSET_X = -0.5
"""Above this x a node discharges."""
FLANK = 0.12
"""Change of x between two kept samples from which on it is the flank of a discharge."""
OVER_X, EXHAUSTED = -1.7, -2.6
"""A node below this x has come to rest after its seizure; its x0 then falls to the second value
and it hears no neighbour: one seizure each, where the bare model can send
waves round the network for ever."""
PILOT = 500.0
"""Length in units of the seizure that is integrated to calibrate the others."""
CHUNK = 1000
"""Steps between two looks at who is through."""


@dataclass(frozen=True)
class Network:
    """Nodes and how they excite each other.

    Attributes
    ----------
    x0_N : excitability; above `EPILEPTOGENIC` a node has seizures, far below it never joins one
    weight_NN : row i holds what node i receives; rows sum to 1 at most
    coupling : strength of the permittivity coupling; the larger, the faster the spread
    """

    x0_N: NDArray[np.floating]
    weight_NN: NDArray[np.floating]
    coupling: float


@dataclass
class Course:
    """One seizure in model time.

    Attributes
    ----------
    fast_TN, slow_TN : the two populations, one sample every `STEP * KEEP` units
    onset_N, offset_N : samples of a node's first and last discharge, NaN if it never joins
    """

    fast_TN: NDArray[np.float32]
    slow_TN: NDArray[np.float32]
    onset_N: NDArray[np.float64]
    offset_N: NDArray[np.float64]

    @property
    def units(self) -> float:
        """Length of the seizure in model time."""
        return float(np.nanmax(self.offset_N) - np.nanmin(self.onset_N)) * STEP * KEEP


@dataclass(frozen=True)
class Clock:
    """How a seizure of the model is played.

    Attributes
    ----------
    duration_s : from the first node's first discharge to the last node's last
    hz : frequency of the discharges at onset, at `turn` of the seizure, and at its end
    turn : share of the duration
    period : model units that count as one cycle, `DISCHARGE` or `WAVE`
    wave : weight of the spike-wave population beside the fast one
    """

    duration_s: float
    hz: tuple[float, float, float]
    turn: float = 0.3
    period: float = DISCHARGE
    wave: float = 1.0

    def units(self) -> float:
        """Length of the seizure in model time."""
        share = np.linspace(0, 1, 201)
        return float(self.period * self.duration_s * self.at(share).mean())

    def at(self, share: NDArray[np.floating]) -> NDArray[np.float64]:
        """Hz at shares of the duration; geometric between the three, constant outside."""
        return np.asarray(np.exp(np.interp(share, (0, self.turn, 1), np.log(self.hz))))


@dataclass
class Seizure:
    """One seizure in seconds.

    Attributes
    ----------
    field_TN : what the nodes emit, 0 at rest, deviation 1 in the strongest node's seizure
    onset_N, offset_N : seconds from the first sample, NaN for nodes that never join
    """

    field_TN: NDArray[np.float32]
    onset_N: NDArray[np.float64]
    offset_N: NDArray[np.float64]

    @property
    def onset_s(self) -> float:
        return float(np.nanmin(self.onset_N))

    @property
    def offset_s(self) -> float:
        return float(np.nanmax(self.offset_N))


def integrate(
    network: Network,
    length_S: NDArray[np.floating],
    rng: np.random.Generator,
    *,
    before: float = 120.0,
    most: float = 4.0,
) -> list[Course]:
    """Seizures of one network, all at once (Euler-Maruyama, float32).

    Parameters
    ----------
    network : at least one node is epileptogenic
    length_S : about how many units of model time each seizure lasts
    rng : noise, and when focal nodes start; the most excitable is first
    before : units between the start and the first onset, about
    most : integration ends after this many times the longest seizure even if nodes still discharge

    Raises
    ------
    DataError
        If no node is epileptogenic.
    """
    focal_N = network.x0_N > EPILEPTOGENIC
    if not focal_N.any():
        raise DataError(
            f"the most excitable of {focal_N.size} nodes has x0 = {network.x0_N.max():.2f}; a "
            f"seizure needs one above {EPILEPTOGENIC:.2f}"
        )
    shape = (len(length_S), focal_N.size)
    # A lone node at x0 = -1.6 discharges for about 0.45 / r units (measured).
    rate_SN = np.broadcast_to(np.float32(0.45) / np.asarray(length_S, np.float32)[:, None], shape)
    x0 = np.tile(np.asarray(network.x0_N, np.float32), (shape[0], 1))
    weight = np.ascontiguousarray(network.weight_NN.T, np.float32) * np.float32(network.coupling)
    into = weight.sum(0)

    x1, z = _resting(x0)
    fall = FOLD_Z - 4 * (FOLD_X - x0[:, focal_N])
    delay = before * rng.uniform(0.9, 1.3, (shape[0], focal_N.sum()))
    delay[:, x0[0, focal_N].argmax()] = 0.8 * before
    z[:, focal_N] = FOLD_Z + rate_SN[:, focal_N] * fall * delay
    x1[:, focal_N] = FOLD_X - np.sqrt((z[:, focal_N] - FOLD_Z) / 2)
    y1 = 1 - 5 * x1**2
    x2, y2 = np.full(shape, -1.0, np.float32), np.zeros(shape, np.float32)
    g = 0.1 * x1
    dt, sigma = np.float32(STEP), np.float32(NOISE * np.sqrt(STEP))

    fast: list[NDArray[np.float32]] = []
    slow: list[NDArray[np.float32]] = []
    chunks = int(most * float(np.max(length_S)) / STEP / CHUNK) + 2
    open_SN = np.ones(shape, np.float32)
    joined, through = np.zeros(shape, bool), np.zeros(shape, bool)
    for _ in range(chunks):
        noise = sigma * rng.standard_normal((CHUNK, 2, *shape), np.float32)
        highest = np.full(shape, -9.0, np.float32)
        for k in range(CHUNK):
            square = x1 * x1
            inner = np.where(x1 < 0, x1 * (3 - x1), 0.6 * (z - 4) ** 2 - x2)
            dx1 = y1 - z + 3.1 + inner * x1
            dz = 4 * (x1 - x0) - z - open_SN * (x1 @ weight - into * x1)
            dx2 = x2 - x2 * x2 * x2 - y2 + 2 * g - 0.3 * z + 1.5
            dy2 = 0.6 * np.maximum(x2 + 0.25, 0) - 0.1 * y2
            g = g - dt * 0.01 * (g - 0.1 * x1)
            x1 = x1 + dt * dx1
            y1 = y1 + dt * (1 - 5 * square - y1)
            z = z + dt * rate_SN * dz
            x2 = x2 + dt * dx2 + noise[k, 0]
            y2 = y2 + dt * dy2 + noise[k, 1]
            if k % KEEP == 0:
                fast.append(x1)
                slow.append(x2)
                np.maximum(highest, x1, out=highest)
        joined |= highest > ONSET_X
        through |= joined & (x1 < OVER_X)
        x0[through], open_SN[through] = EXHAUSTED, 0.0
        if joined.any(1).all() and (through == joined).all():
            break
    fast_TSN, slow_TSN = np.stack(fast), np.stack(slow)
    return [_course(fast_TSN[:, s], slow_TSN[:, s]) for s in range(shape[0])]


def integrate_lasting(
    network: Network, units_S: NDArray[np.floating], rng: np.random.Generator
) -> list[Course]:
    """Seizures that last about so many units of model time.

    A short pilot measures by how much the network stretches or shortens a seizure.
    """
    pilot = integrate(network, np.array([PILOT]), rng)[0]
    return integrate(network, units_S * np.clip(PILOT / pilot.units, 0.3, 3.0), rng)


def play(course: Course, clock: Clock, sfreq: float, *, around_s: float = 5.0) -> Seizure:
    """A seizure by the clock, at `sfreq`, with `around_s` on both sides.

    Slow shifts (the baseline that moves with z) are removed by a high-pass at 0.5 Hz, as by any
    amplifier for the scalp. A node is heard from a few spikes before its onset until its offset:
    at rest the second population spikes for ever, and would betray where the seizure was laid.
    """
    from scipy.signal import butter, resample_poly, sosfiltfilt

    first, last = np.nanmin(course.onset_N), np.nanmax(course.offset_N)
    fine = 4
    t = np.arange(-around_s, clock.duration_s + around_s, 1 / (fine * sfreq))
    speed = clock.at(t / clock.duration_s)
    at = np.cumsum(speed) / (fine * sfreq)
    inside = (t >= 0) & (t < clock.duration_s)
    begin, end = at[inside][0], at[inside][-1]
    at = first + (last - first) * (at - begin) / (end - begin)
    potential_TN = clock.wave * course.slow_TN - course.fast_TN
    steps = np.arange(len(potential_TN))
    field_TN = np.stack([np.interp(at, steps, p) for p in potential_TN.T], 1)
    # Both ends are constant, so that the filters have nothing to ring about.
    field_TN = resample_poly(field_TN - field_TN[0], 1, fine, axis=0, padtype="line")
    sos = butter(2, 0.5, "highpass", fs=sfreq, output="sos")
    field_TN = sosfiltfilt(sos, field_TN, axis=0)
    onset_N, offset_N = (
        np.where(np.isnan(v), np.nan, np.interp(v, at, t + around_s))
        for v in (course.onset_N, course.offset_N)
    )
    now = np.arange(len(field_TN)) / sfreq
    fade_in, fade_out = 1 - (onset_N - now[:, None]) / around_s, 1 - (now[:, None] - offset_N)
    field_TN *= np.nan_to_num(np.clip(np.minimum(fade_in, fade_out), 0, 1)) ** 2
    during = (now >= around_s) & (now < around_s + clock.duration_s)
    field_TN /= field_TN[during].std(0).max()
    return Seizure(np.asarray(field_TN, np.float32), onset_N, offset_N)


def _resting(x0: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where an uncoupled node rests, x and z: 4 (x - x0) = z on the lower branch."""
    x = np.linspace(-4, FOLD_X, 2001)
    balance = 4 * x - (4.1 - 2 * x**2 - x**3)
    rest = np.interp(4 * x0, balance, x)
    z = 4.1 - 2 * rest**2 - rest**3
    return rest.astype(np.float32), z.astype(np.float32)


def _course(fast_TN: NDArray[np.float32], slow_TN: NDArray[np.float32]) -> Course:
    """Onset is the first jump off the resting branch, offset the last steep flank of a discharge;
    the plateau without discharges that follows emits nothing a high-pass would let through.
    """
    up = fast_TN > ONSET_X
    joined, first = up.any(0), up.argmax(0)
    after = np.arange(len(up))[:, None] > first
    over = after & (fast_TN < OVER_X)
    stop = np.where(over.any(0), over.argmax(0), len(up))
    steep = np.abs(np.diff(fast_TN, axis=0, prepend=fast_TN[:1])) > FLANK
    during = steep & up & (np.arange(len(up))[:, None] < stop)
    last = len(up) - 1 - during[::-1].argmax(0)
    nan = np.full(len(first), np.nan)
    return Course(fast_TN, slow_TN, np.where(joined, first, nan), np.where(joined, last, nan))
