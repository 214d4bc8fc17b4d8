"""What electrodes pick up besides the brain: muscles, eyes, chewing, movement, loose contacts.

Sizes are in units of the background's standard deviation. Artefacts are larger and rougher than
most seizures, so that neither amplitude nor line length alone tells the two apart.

Shapes: C channels, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.data.interictal import Rows, band, coloured, curve, place
from brainfm.types import Event

SCALP_PER_HOUR = {"muscle": 50.0, "chewing": 6.0, "movement": 14.0, "pop": 16.0, "tremor": 4.0}
DEPTH_PER_HOUR = {"muscle": 12.0, "chewing": 3.0, "movement": 6.0, "pop": 10.0, "tremor": 3.0}
"""Bouts an hour in a patient of usual restlessness; chosen, not measured."""
SECONDS = {
    "muscle": (0.5, 12.0),
    "chewing": (5.0, 30.0),
    "movement": (1.5, 10.0),
    "pop": (2.0, 4.0),
    "tremor": (4.0, 30.0),
}
SIZE = {
    "muscle": (0.8, 4.0),
    "chewing": (1.0, 5.0),
    "movement": (2.0, 7.0),
    "pop": (4.0, 12.0),
    "tremor": (1.0, 3.5),
}
DEPTH_SIZE = 0.5
"""Depth electrodes see muscles and movement only through the reference."""
LABEL = "artefact_"
"""Labels of the events are "artefact_muscle", ..."""


@dataclass(frozen=True)
class Places:
    """How strongly each channel sees the sources outside the brain, each (C,)."""

    temples_C: NDArray[np.floating]
    front_C: NDArray[np.floating]
    left_right_C: NDArray[np.floating]


def scalp_places(direction_C3: NDArray[np.floating]) -> Places:
    """From unit vectors towards the electrodes: x right, y front, z up."""

    def near(x: float, y: float, z: float, width: float) -> NDArray[np.floating]:
        at = np.array((x, y, z)) / np.linalg.norm((x, y, z))
        return np.asarray(np.exp((direction_C3 @ at - 1) / (1 - np.cos(width))))

    right, left = near(1, 0.3, 0, 0.7), near(-1, 0.3, 0, 0.7)
    return Places(
        0.05 + left + right, near(0, 1, 0, 0.6), near(0.7, 0.7, 0, 0.6) - near(-0.7, 0.7, 0, 0.6)
    )


def depth_places(rng: np.random.Generator, n_C: int) -> Places:
    """All contacts alike through their common reference, and no eyes."""
    alike = np.exp(rng.normal(0, 0.15, n_C))
    return Places(alike, np.zeros(n_C), np.zeros(n_C))


def add_artefacts(
    rng: np.random.Generator,
    x_CT: Rows,
    sfreq: float,
    places: Places,
    *,
    scalp: bool,
    restless: float = 1.0,
    awake_T: Rows,
) -> list[Event]:
    """Add bouts at random times, in place.

    Parameters
    ----------
    places : who sees what
    scalp : more and larger of everything, and eyes
    restless : factor on all rates
    awake_T : 0 to 1; eyes and chewing need somebody awake

    Returns
    -------
    events, sorted; eyes are too many to be listed
    """
    n = x_CT.shape[1]
    hours = n / sfreq / 3600
    events = []
    for what, per_hour in (SCALP_PER_HOUR if scalp else DEPTH_PER_HOUR).items():
        for _ in range(rng.poisson(per_hour * restless * hours)):
            low, high = SECONDS[what]
            seconds = min(float(np.exp(rng.uniform(np.log(low), np.log(high)))), n / sfreq / 4)
            at = int(rng.integers(n - int(seconds * sfreq)))
            if what == "chewing" and awake_T[at] < 0.3:
                continue
            low, high = SIZE[what]
            size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
            if not scalp and what in ("muscle", "chewing", "movement"):
                size *= DEPTH_SIZE
            stop = at + int(seconds * sfreq)
            x_CT[:, at:stop] += size * bout(rng, what, stop - at, sfreq, places)
            events.append(Event(at / sfreq, (stop - at) / sfreq, LABEL + what))
    if scalp:
        _eyes(rng, x_CT, sfreq, places, awake_T)
    return sorted(events)


def bout(rng: np.random.Generator, what: str, n: int, sfreq: float, places: Places) -> Rows:
    """One bout of size 1, (C, n), silent at both ends.

    Parameters
    ----------
    what : a key of `SIZE`
    """
    n_C = len(places.temples_C)
    ends = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.1 * n + 1))
    ends = ends.astype(np.float32)
    t = np.arange(n, dtype=np.float32) / np.float32(sfreq)
    if what in ("muscle", "chewing"):
        x_CT = coloured(rng, n_C, n, sfreq, band(14, min(100, 0.45 * sfreq)))
        side = np.exp(rng.normal(0, 0.6, n_C))
        x_CT *= (places.temples_C * side).astype(np.float32)[:, None]
        if what == "chewing":
            rate = rng.uniform(0.9, 2.2) * curve(rng, n, sfreq, 2, 0.1)
            jaw = np.sin(2 * np.pi * np.cumsum(rate) / sfreq)
            x_CT *= np.maximum(jaw, 0) * 1.6
            # The tongue's own potential moves with the jaw.
            tongue = (places.temples_C + places.front_C) * rng.uniform(0.2, 0.8)
            x_CT += np.outer(tongue, jaw).astype(np.float32)
        else:
            x_CT *= curve(rng, n, sfreq, 0.5, 0.4)
        return x_CT * ends
    if what == "movement":
        shared = coloured(rng, 3, n, sfreq, band(0.4, 3.0))
        gain = rng.normal(0, 0.7, (n_C, 3)).astype(np.float32)
        return (gain @ shared) * ends
    x_CT = np.zeros((n_C, n), np.float32)
    if what == "pop":
        c = int(rng.integers(n_C))
        x_CT[c] = rng.choice((-1, 1)) * np.exp(-t / rng.uniform(0.15, 0.8))
        x_CT[c, : max(2, int(0.01 * sfreq))] *= 0.5
        return x_CT
    # Tremor, patting, a rubbing electrode: rhythmic like a seizure, but it neither spreads nor
    # changes its rhythm.
    phase = 2 * np.pi * np.cumsum(rng.uniform(2.5, 7.0) * curve(rng, n, sfreq, 4, 0.03)) / sfreq
    wave = np.sin(phase) + rng.uniform(0, 0.5) * np.sin(2 * phase + rng.uniform(0, 6))
    wave = wave * curve(rng, n, sfreq, 1, 0.2) * ends
    for c in rng.choice(n_C, size=int(rng.integers(1, max(2, n_C // 4) + 1)), replace=False):
        x_CT[c] = rng.uniform(0.4, 1.2) * wave
    return x_CT


def _eyes(
    rng: np.random.Generator, x_CT: Rows, sfreq: float, places: Places, awake_T: Rows
) -> None:
    """Blinks (one lobe, frontal) and glances (steps, opposite at both temples), in place."""
    n = x_CT.shape[1]
    blink_T, glance_T = np.zeros(n, np.float32), np.zeros(n, np.float32)
    blink = np.hanning(int(0.3 * sfreq)).astype(np.float32)
    for _ in range(rng.poisson(rng.uniform(4, 18) * n / sfreq / 60)):
        at = int(rng.integers(n))
        if rng.uniform() < awake_T[at]:
            place(blink_T, blink, at, rng.uniform(2, 6))
    for _ in range(rng.poisson(rng.uniform(1, 6) * n / sfreq / 60)):
        at, length = int(rng.integers(n)), int(rng.uniform(0.3, 2.0) * sfreq)
        if rng.uniform() < awake_T[at]:
            edge = np.minimum(1, np.arange(length) / (0.04 * sfreq))
            shape = np.minimum(edge, edge[::-1]).astype(np.float32)
            place(glance_T, shape, at, rng.choice((-1, 1)) * rng.uniform(0.8, 3))
    x_CT += np.outer(places.front_C, blink_T).astype(np.float32)
    x_CT += np.outer(places.left_right_C, glance_T).astype(np.float32)


def add_line(rng: np.random.Generator, x_CT: Rows, sfreq: float, hz: float) -> None:
    """Mains hum, different on every channel and growing and shrinking over minutes, in place."""
    n_C, n = x_CT.shape
    t = np.arange(n) / sfreq
    hum = np.sin(2 * np.pi * hz * t).astype(np.float32) * curve(rng, n, sfreq, 60, 0.6)
    size_C = 0.1 * np.exp(rng.normal(0, 0.8, n_C)).clip(0, 6) * rng.choice((-1, 1), n_C)
    x_CT += size_C.astype(np.float32)[:, None] * hum
