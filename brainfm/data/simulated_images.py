"""SIMULATED viewers of images: parcels that answer to vectors of images, and a scanner.

Every image is a vector; a parcel answers by how its tuning lies to it. Tuning is shared between
heads in part, strong in the occipital lobe, weaker in temporal and parietal ones, and weak
elsewhere, so that it can be asked what is left without visual cortex. No number measured on it is
evidence on brains.

Shapes: N images, E numbers of a vector, P parcels, T steps of the response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.data.anatomy import Head
from brainfm.data.haemodynamics import HZ, Scanner, response, scan
from brainfm.data.images import PREFIX, ImageTable
from brainfm.types import Event, Recording

DATASET = "simulated_images"
TUNED = {"occipital": 1.0, "temporal": 0.6, "parietal": 0.4}
"""How strongly a lobe answers to images; others by `ELSEWHERE`. Round numbers: what is shown is
seen best at the back of the head."""
ELSEWHERE = 0.1
REACH_M = 0.02
"""How far alike neighbours are, in tuning and at rest."""
SHARED = 0.7
"""Share of the variance of tuning that all heads have in common."""


@dataclass(frozen=True)
class Viewing:
    """How images are shown, and what is seen."""

    width: int = 16
    """E."""
    image_s: float = 3.0
    pause_s: float = 1.0
    strength: float = 0.12
    """Size of an answer, in units of a threefold growth of power (`haemodynamics.scan`). Chosen by
    looking at ridge, so that it is neither at chance nor always right."""
    rest: float = 0.35
    """Size of what parcels do by themselves."""
    tr_s: float = 1.0


def image_table(n_images: int, viewing: Viewing | None = None, seed: int = 0) -> ImageTable:
    """Vectors of images that nobody ever drew, named "simulated0000" and so on."""
    width = (viewing or Viewing()).width
    rng = np.random.default_rng([seed, 77])
    names = tuple(f"simulated{i:04d}" for i in range(n_images))
    vector_NE = rng.normal(size=(n_images, width)).astype(np.float32)
    return ImageTable(names, vector_NE, "SIMULATED: normal numbers, no image")


def tuned(pos_P3: NDArray[np.floating]) -> NDArray[np.float64]:
    """(P,) how strongly parcels at these places (MNI metres) answer to images.

    The back of the head most, then below and beside it, then above it.
    """
    x, y, z = 1000 * np.asarray(pos_P3, float).T
    return np.select(
        [y < -70, (z < 5) & (np.abs(x) > 25) & (y < 0), (y < -35) & (z > 25)],
        [TUNED["occipital"], TUNED["temporal"], TUNED["parietal"]],
        ELSEWHERE,
    )


def neighbours(pos_P3: NDArray[np.floating]) -> NDArray[np.float64]:
    """(P, P) what makes independent numbers of parcels alike where they lie near, of spread 1."""
    apart2 = ((pos_P3[:, None] - pos_P3[None]) ** 2).sum(-1)
    mix = np.exp(-apart2 / (2 * REACH_M**2))
    return np.asarray(mix / np.sqrt((mix**2).sum(1, keepdims=True)))


def tuning(head: Head, viewing: Viewing) -> NDArray[np.float64]:
    """(P, E) how each parcel answers to each number of a vector."""
    pos_P3 = head.channels("BOLD").pos_m
    size_P, smooth_PP = tuned(pos_P3), neighbours(pos_P3)
    many = (len(size_P), viewing.width)
    common = np.random.default_rng([78, *many]).normal(size=many)
    own = head.rng("tuning").normal(size=many)
    mixed = smooth_PP @ (SHARED**0.5 * common + (1 - SHARED) ** 0.5 * own)
    return np.asarray(size_P[:, None] * mixed / viewing.width**0.5)


def view(
    head: Head, table: ImageTable, order: Sequence[int], run: str, viewing: Viewing | None = None
) -> Recording:
    """One run of fMRI in which images are shown one after the other.

    Parameters
    ----------
    order : rows of `table`, as they are shown
    run : name of the run; noise is drawn by it
    """
    v = viewing or Viewing()
    rng = head.rng(f"viewing {run}")
    step_s = v.image_s + v.pause_s
    lead_s, tail_s = 6.0, 16.0
    seconds = lead_s + step_s * len(order) + tail_s
    n = round(seconds * HZ)
    w_PE = tuning(head, v)
    drive_PT = v.rest * (neighbours(head.channels("BOLD").pos_m) @ _slow(rng, len(w_PE), n))
    events = []
    for i, row in enumerate(order):
        onset_s = lead_s + i * step_s
        first, last = (round(t * HZ) for t in (onset_s, onset_s + v.image_s))
        drive_PT[:, first:last] += v.strength * (w_PE @ table.vector_NE[row])[:, None] * 3
        events.append((onset_s, table.names[row]))
    scanner = Scanner(tr_s=v.tr_s, spikes_per_min=0.0)
    x_FP, _ = scan(response(drive_PT, head.hrf_stretch), scanner, seconds, rng)
    start_s = float(scanner.frame_times(seconds)[0])
    return Recording(
        x_FP,
        1 / v.tr_s,
        head.channels("BOLD"),
        dataset=DATASET,
        subject=head.subject,
        name=f"sub-{head.subject}_{run}",
        events=[Event(at - start_s, v.image_s, PREFIX + name) for at, name in events],
        notes=[
            "SIMULATED: parcels answer to vectors by a random tuning; no brain, no image, and no "
            "evidence on either",
        ],
        start_s=start_s,
    )


def _slow(rng: np.random.Generator, many: int, n: int) -> NDArray[np.float64]:
    """What parcels do by themselves: waves of some seconds, of spread 1."""
    from scipy.ndimage import gaussian_filter1d

    x = gaussian_filter1d(rng.normal(size=(many, n)), 2 * HZ / 2, axis=1)
    return np.asarray(x / x.std(1, keepdims=True))
