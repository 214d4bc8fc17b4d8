"""Which coefficients a decoder knows before each one, and in which order all of them are decoded.

Coefficients of a window form a box: channels, frames, frequencies. Each one looks at lower
frequencies of its frame, at the two frames before, and at the same place in the nearest channels
that come before its own. Channels come in generations, far apart first, so that everything of
one moment in the order below can be decoded at once: a window of 64 channels and 8 frames of 256
coefficients takes some three hundred moments, not a hundred thousand.

Shapes: C channels, F frames, K frequencies, R references (other channels), J neighbours,
M coefficients (M = C F K, channels outermost), B windows.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

OWN = tuple((0, -k) for k in range(1, 7)) + ((-1, 0), (-1, -1), (-1, 1), (-2, 0))
OWN += ((-1, -2), (-1, 2), (-2, -1), (-2, 1))
"""(frames, frequencies) from a coefficient to its neighbours in its own channel."""
EVIDENCE = 10
"""The first so many of `OWN` are also looked at in each reference: how alike were the two?"""
HERE, ABOVE = (0, 0), (0, 1)
"""What a reference shows besides: the same place, and one frequency up."""

PER_REFERENCE = EVIDENCE + 2
GEOMETRY = 5
"""Numbers on each reference: the way to it in three directions, whether that is known, whether
there is one."""
DISTANCE_M = 0.1
"""Unit of that way."""
GEOMETRY_GRID = 256.0

PAST, LOW, HIGH = 2, 6, 2
"""How far `OWN` reaches: frames back, frequencies down and up."""
FRAME_LAG, GENERATION_LAG = 3, 2
"""Moments that a frame, and a generation of channels, is behind the one before."""

Ints = NDArray[np.int64]


def references(pos_C3: NDArray[np.floating], usable_C: NDArray[np.bool_], n: int) -> Ints:
    """Channels that each channel may look at, (C, n): the nearest of those before it; -1 for none.

    Usable channels are ordered by farthest-point sampling, so that late ones have near references
    and generations are few. It starts from the one with the least coordinates: the order in which
    channels are listed plays no part, unless a position is unknown (NaN): then the place in the
    list stands in for all positions.
    """
    out = np.full((len(pos_C3), n), -1, np.int64)
    usable = np.flatnonzero(usable_C)
    if not len(usable):
        return out
    pos = np.asarray(pos_C3, np.float64)[usable]
    if np.isfinite(pos).all():
        usable, pos = usable[np.lexsort(pos.T)], pos[np.lexsort(pos.T)]
    else:
        pos = np.arange(len(usable), dtype=np.float64)[:, None]
    distance = np.linalg.norm(pos[:, None] - pos[None], axis=-1)
    before, far = [0], distance[0].copy()
    while len(before) < len(usable):
        far[before] = -1.0
        new = int(far.argmax())
        seen = np.sort(before)
        near = seen[np.argsort(distance[new, seen], kind="stable")[:n]]
        out[usable[new], : len(near)] = usable[near]
        before.append(new)
        far = np.minimum(far, distance[new])
    return out


class Neighbours:
    """The order of a box of coefficients, and where each finds its neighbours.

    Parameters
    ----------
    reference_CR : of `references`
    n_frames, n_frequencies : of the box
    """

    def __init__(self, reference_CR: Ints, n_frames: int, n_frequencies: int) -> None:
        self.reference_CR = reference_CR
        self.shape = (len(reference_CR), n_frames, n_frequencies)

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    @cached_property
    def index_MJ(self) -> Tensor:
        """Places in a padded, flat box (`pad`), int64; own neighbours first."""
        c, f, k = np.indices(self.shape).reshape(3, -1)
        steps = [(0, *step) for step in OWN]
        parts = [self._place(c, f + df, k + dk) for _, df, dk in steps]
        for reference_C in self.reference_CR.T:
            there = reference_C[c]  # -1 is the empty channel at the end of the padded box
            parts += [
                self._place(there, f + df, k + dk) for df, dk in (*OWN[:EVIDENCE], HERE, ABOVE)
            ]
        return torch.from_numpy(np.stack(parts, -1))

    @cached_property
    def moments(self) -> list[Tensor]:
        """Coefficients (their numbers) that are decoded together, moment after moment."""
        c, f, k = np.indices(self.shape).reshape(3, -1)
        when = k + FRAME_LAG * f + GENERATION_LAG * self.generation_C[c]
        order = np.argsort(when, kind="stable")
        cuts = np.flatnonzero(np.diff(when[order])) + 1
        return [torch.from_numpy(part) for part in np.split(order, cuts)]

    @cached_property
    def generation_C(self) -> Ints:
        """0 for channels without references, else one more than that of the last reference."""
        out = np.zeros(len(self.reference_CR), np.int64)
        for _ in out:  # as often as there are generations, and never more than channels
            seen = np.where(self.reference_CR >= 0, out[self.reference_CR] + 1, 0)
            new = seen.max(1, initial=0)
            if (new == out).all():
                break
            out = new
        return out

    def pad(self, q_BCFK: Tensor) -> Tensor:
        """Box with zeros where nothing is, flat: (B, ...)."""
        return torch.nn.functional.pad(q_BCFK, (LOW, HIGH, PAST, 0, 0, 1)).flatten(1)

    def place_M(self) -> Tensor:
        """Where each coefficient itself lies in the padded box."""
        return torch.from_numpy(self._place(*np.indices(self.shape).reshape(3, -1)))

    def _place(self, c: Ints, f: Ints, k: Ints) -> Ints:
        n_channels, n_frames, n_frequencies = self.shape
        c = c % (n_channels + 1)
        rows, columns = n_frames + PAST, n_frequencies + LOW + HIGH
        return np.asarray((c * rows + f + PAST) * columns + k + LOW)


@lru_cache(maxsize=8)
def neighbours_of(pos: bytes, usable: bytes, n: int, n_blocks: int, k: int) -> Neighbours:
    """`Neighbours` of channels at float32 positions (3 each, as bytes), those that are usable."""
    pos_C3 = np.frombuffer(pos, np.float32).reshape(-1, 3)
    return Neighbours(references(pos_C3, np.frombuffer(usable, bool), n), n_blocks, k)


def geometry(pos_C3: Tensor, reference_CR: NDArray[np.int64]) -> Tensor:
    """(C, R * GEOMETRY): way to each reference, whether it is known, whether there is one."""
    pos = pos_C3.double().cpu()
    pos = torch.cat([pos, torch.full((1, 3), torch.nan)])  # of the reference that is not there
    index = torch.from_numpy(reference_CR)
    way_CR3 = (pos[index] - pos[:-1, None]) / DISTANCE_M
    known_CR1 = way_CR3.isfinite().all(-1, keepdim=True)
    way_CR3 = torch.where(known_CR1, way_CR3, 0.0).clamp(-4, 4)
    way_CR3 = torch.round(way_CR3 * GEOMETRY_GRID) / GEOMETRY_GRID
    there_CR1 = (index >= 0)[..., None]
    return torch.cat([way_CR3, known_CR1.double(), there_CR1.double()], -1).flatten(1)
