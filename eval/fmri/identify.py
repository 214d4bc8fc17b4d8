"""Who is who: halves of a resting run found again by connectivity, or by features of an encoder.

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
        if len(mine) < 2 or t["layout"].iloc[mine].nunique() != 1:
            raise DataError(
                f"{store.root}: '{dataset}' has {len(mine)} runs of fMRI with "
                f"{t['layout'].iloc[mine].nunique()} layouts; identification wants two or more "
                "people seen by one atlas"
            )
        halves = [_halves(store, int(row)) for row in mine]
        systems = {"connectivity": [[connectivity(x) for x in pair] for pair in halves]}
        if encoder is not None:
            systems["pretrained encoder"] = _features(store, int(mine[0]), halves, encoder)
        random = _random(encoder, seed)
        systems["encoder, random init"] = _features(store, int(mine[0]), halves, random)
        n = len(mine)
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


def _halves(store: Store, row: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = int(store.recordings["n_samples"].iat[row])
    x_TC = store.read(WindowRef(row, 0, n)).astype(np.float64)
    first, second = np.array_split(x_TC, 2)
    return first, second


def _random(encoder: UnifiedEncoder | None, seed: int) -> UnifiedEncoder:
    if encoder is not None:
        from eval.unified.features import random_twin

        return random_twin(encoder, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UnifiedEncoder(UnifiedEncoderConfig(preset="demo")).eval()


def _features(
    store: Store, row: int, halves: list[tuple[NDArray, NDArray]], encoder: UnifiedEncoder
) -> list[list[NDArray[np.float64]]]:
    """What an encoder tells of each half, less the mean of all halves."""
    channels, sfreq = store.channels(row), store.sfreq(row)
    out = [[_told(encoder, x_TC, channels, sfreq) for x_TC in pair] for pair in halves]
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
