"""Who is who: halves of people's rest found again by connectivity, or by features of an encoder.

Halves are the earlier and the later runs of a person, of one run its earlier and later frames.

Shapes: N people, T frames, C channels, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.collate import batch_from_arrays
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.signals.connectivity import connectivity, found_again
from brainfm.signals.preprocess import Normalise
from brainfm.types import Channels, WindowRef

WINDOW_S = 60.0
SHUFFLES = 200


def identify(
    store: Store, datasets: list[str], encoder: UnifiedEncoder | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """One row a data set and system: people found again both ways, of how many.

    Parameters
    ----------
    encoder : pretrained; one of random weights stands beside it in any case

    Raises
    ------
    DataError
        If a data set has fewer than two people, or several layouts.
    """
    rows = []
    for dataset in datasets:
        t = store.recordings
        mine = np.flatnonzero(((t["dataset"] == dataset) & (t["kind"] == "BOLD")).to_numpy())
        people = {s: mine[t["subject"].iloc[mine] == s] for s in t["subject"].iloc[mine].unique()}
        if len(people) < 2 or t["layout"].iloc[mine].nunique() != 1:
            raise DataError(
                f"{store.root}: '{dataset}' has fMRI of {len(people)} people with "
                f"{t['layout'].iloc[mine].nunique()} layouts; identification wants two or more "
                "people seen by one atlas"
            )
        halves = [_halves(store, rows_of.tolist()) for rows_of in people.values()]
        systems = {
            "connectivity": [
                [np.mean([connectivity(x_TC) for x_TC in half], 0) for half in pair]
                for pair in halves
            ]
        }
        if encoder is not None:
            systems["pretrained encoder"] = _features(store, int(mine[0]), halves, encoder)
        random = _random(encoder, seed)
        systems["encoder, random init"] = _features(store, int(mine[0]), halves, random)
        n = len(people)
        for name, pairs in systems.items():
            first, second = (np.stack([p[k] for p in pairs]) for k in (0, 1))
            there, back = found_again(first, second)
            rows.append(
                {
                    "data set": dataset,
                    "system": name,
                    "found again": f"{there} of {n}",
                    "the other way": f"{back} of {n}",
                    "chance": f"{1:d} of {n}",
                    "p": _p(first, second, there, seed),
                    "right": [there, back],
                    "people": n,
                }
            )
    return rows


Half = list[NDArray[np.float64]]
"""Frames (T, C) of each run, or of part of one."""


def _halves(store: Store, rows: list[int]) -> tuple[Half, Half]:
    runs = [_kept(store, row) for row in rows]
    if len(runs) == 1:
        first, second = np.array_split(runs[0], 2)
        return [first], [second]
    return runs[: len(runs) // 2], runs[len(runs) // 2 :]


def _kept(store: Store, row: int) -> NDArray[np.float64]:
    """Frames inside the intervals of a recording, (T, C)."""
    x_TC = store.read(WindowRef(row, 0, int(store.recordings["n_samples"].iat[row])))
    return np.concatenate([x_TC[a:b] for a, b in store.intervals(row)]).astype(np.float64)


def _random(encoder: UnifiedEncoder | None, seed: int) -> UnifiedEncoder:
    if encoder is not None:
        from eval.unified.features import random_twin

        return random_twin(encoder, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UnifiedEncoder(UnifiedEncoderConfig(preset="demo")).eval()


def _features(
    store: Store, row: int, halves: list[tuple[Half, Half]], encoder: UnifiedEncoder
) -> list[list[NDArray[np.float64]]]:
    """What an encoder tells of each half, less the mean of all halves."""
    channels, sfreq = store.channels(row), store.sfreq(row)
    out = [
        [np.mean([_told(encoder, x_TC, channels, sfreq) for x_TC in half], 0) for half in pair]
        for pair in halves
    ]
    middle = np.mean([x for pair in out for x in pair], 0)
    return [[x - middle for x in pair] for pair in out]


def told_by(
    encoder: UnifiedEncoder, store: Store, rows: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """(N, F) what an encoder tells of people, mean over the runs of each."""
    out = []
    for mine in rows:
        told = []
        for row in mine:
            x_TC = store.read(WindowRef(row, 0, int(store.recordings["n_samples"].iat[row])))
            told.append(_told(encoder, x_TC, store.channels(row), store.sfreq(row)))
        out.append(np.mean(told, 0))
    return np.stack(out)


@torch.no_grad()
def _told(
    encoder: UnifiedEncoder, x_TC: NDArray, channels: Channels, sfreq: float
) -> NDArray[np.float64]:
    """(F,) mean and spread over windows and steps of the sources."""
    normalise: Normalise = encoder.preprocess.normalise
    parts = np.array_split(x_TC, max(1, len(x_TC) // round(WINDOW_S * sfreq)))
    least = min(len(p) for p in parts)
    x_NCT = np.stack([p[:least].T for p in parts])
    h = encoder(batch_from_arrays(x_NCT, channels, sfreq, normalise)).h_BSWD
    flat = h.transpose(1, 2).flatten(0, 1).flatten(1).double()
    return torch.cat((flat.mean(0), flat.std(0))).numpy()


def _p(first: NDArray, second: NDArray, right: int, seed: int) -> float:
    """Share of shuffled people in which as many are found again."""
    rng = np.random.default_rng(seed)
    hits = [found_again(first, second[rng.permutation(len(second))])[0] for _ in range(SHUFFLES)]
    return float((1 + sum(h >= right for h in hits)) / (1 + SHUFFLES))
