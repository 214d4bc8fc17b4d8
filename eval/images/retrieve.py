"""Finding the image that was seen among those of a pool, by a decoder and by ridge.

Repeats of an image in one person count once, as the mean of what was told. People are scored each
against the same pool; intervals resample images.

Shapes: P people, M images of the pool, C parcels, E numbers of a vector, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.images import ImageTable, ImageTargets, ImageWindows, image_windows
from brainfm.data.index import select
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.nn.regions import LOBES, lobe_of, parcel_of
from brainfm.signals.preprocess import Preprocess
from brainfm.speech.decoder import SpeechDecoder
from brainfm.types import SignalBatch, WindowRef

MOST = 64
PENALTIES = tuple(10.0 ** np.arange(0, 7))
BINS, SINCE_S, UNTIL_S = 3, 3.0, 9.0
"""What ridge sees of a window: so many means between these seconds."""


@dataclass
class Person:
    """What a person saw.

    Attributes
    ----------
    name : of the person
    fit, test : windows, with the name of the image each shows
    lobe_C : lobe of each parcel, "" where the place is unknown
    """

    name: str
    fit: dict[WindowRef, str]
    test: dict[WindowRef, str]
    lobe_C: NDArray[np.str_]


def read_people(store: Store, targets: ImageTargets, query: str = "") -> list[Person]:
    """People who saw images in training and in test runs.

    Raises
    ------
    DataError
        If there are none, or a test image was shown in training.
    """
    chosen = select(store, query)
    people = []
    for person, rows in chosen.groupby(["dataset", "subject"], sort=True):
        seen: dict[str, dict[WindowRef, str]] = {"train": {}, "val": {}, "test": {}}
        for row, split in rows["split"].items():
            seen[split] |= image_windows(store, int(row), targets)
        if seen["train"] and seen["test"]:
            pos_1C3 = torch.tensor(store.channels(int(rows.index[0])).pos_m, dtype=torch.float32)[
                None
            ]
            index_C = lobe_of(parcel_of(pos_1C3))[0].numpy()
            lobe_C = np.array([LOBES[i % len(LOBES)] if i >= 0 else "" for i in index_C])
            people.append(Person("/".join(person), seen["train"], seen["test"], lobe_C))
    if not people:
        raise DataError(
            f"{store.root}: nobody saw images both in training and in test runs; prepare "
            "simulated_images, or a data set with events 'image:...' in both splits"
        )
    taught = {name for p in people for name in p.fit.values()}
    both = taught & {name for p in people for name in p.test.values()}
    if both:
        raise DataError(
            f"{store.root}: image '{min(both)}' and {len(both) - 1} more are shown in training and "
            "in test runs; split by image"
        )
    return people


def pool_of(people: Sequence[Person]) -> list[str]:
    """Images that everybody saw in test runs: the candidates.

    Raises
    ------
    DataError
        If there are fewer than two.
    """
    common = set.intersection(*(set(p.test.values()) for p in people))
    if len(common) < 2:
        raise DataError(
            f"{len(people)} people share {len(common)} test images; a pool wants two or more"
        )
    return sorted(common)


def by_decoder(
    decoder: SpeechDecoder,
    store: Store,
    people: Sequence[Person],
    pool: Sequence[str],
    targets: ImageTargets,
    lobes: Sequence[str] | None = None,
) -> NDArray[np.float64]:
    """(P, M, M) likeness of what was told of each image to each candidate.

    Parameters
    ----------
    lobes : parcels of these only; None: all
    """
    decoder.eval()
    preprocess = decoder.preprocess or Preprocess(store.recipe)
    data = ImageWindows(store, preprocess, targets)
    out = []
    with torch.no_grad():
        vector_ME = torch.from_numpy(data.table.of(pool, targets.table))
        candidate_ME = decoder.head.speech(vector_ME[:, None]).double().numpy()
        for person in people:
            refs = [r for r, name in person.test.items() if name in set(pool)]
            told = []
            for i in range(0, len(refs), MOST):
                told.append(decoder.predict(_of_lobes(data[refs[i : i + MOST]], person, lobes)))
            told_NE = torch.cat(told).double().numpy()
            mean_ME = _by_image(told_NE, [person.test[r] for r in refs], pool)
            out.append(_unit(mean_ME) @ candidate_ME.T)
    return np.stack(out)


def by_ridge(
    store: Store,
    people: Sequence[Person],
    pool: Sequence[str],
    table: ImageTable,
    lobes: Sequence[str] | None = None,
) -> NDArray[np.float64]:
    """The same by a ridge of each person, from parcels to vectors."""
    from sklearn.linear_model import RidgeCV

    out = []
    for person in people:
        kept = np.isin(person.lobe_C, lobes) if lobes is not None else np.ones(1, bool)
        cache: dict[int, NDArray[np.float64]] = {}
        x_NF, y_NE = (
            np.stack([_bins(store, r, kept, cache) for r in person.fit]),
            table.of(list(person.fit.values())),
        )
        middle, spread = y_NE.mean(0), y_NE.std(0)
        model = RidgeCV(PENALTIES).fit(x_NF, (y_NE - middle) / spread)
        refs = [r for r, name in person.test.items() if name in set(pool)]
        told_NE = model.predict(np.stack([_bins(store, r, kept, cache) for r in refs]))
        mean_ME = _by_image(told_NE, [person.test[r] for r in refs], pool)
        out.append(_unit(mean_ME) @ _unit((table.of(pool) - middle) / spread).T)
    return np.stack(out)


def shuffled(score_PMM: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """What was told of each image, given to another one."""
    order = np.random.default_rng(seed).permutation(score_PMM.shape[1])
    while (order == np.arange(len(order))).any():
        order = np.roll(order, 1)
    return score_PMM[:, order]


def ranks(score_PMM: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, M) how many candidates are liked better than the right one; ties count half."""
    own = np.diagonal(score_PMM, axis1=1, axis2=2)[..., None]
    better: NDArray[np.float64] = (score_PMM > own).sum(2) + 0.5 * ((score_PMM == own).sum(2) - 1)
    return better


def summarise(rank_PM: NDArray[np.float64], n_resamples: int = 1000) -> dict[str, dict[str, Any]]:
    """Top-1 and top-5, mean over people, 95 % intervals over images."""
    rng = np.random.default_rng(0)
    m = rank_PM.shape[1]
    draws = rng.integers(m, size=(n_resamples, m))
    out = {}
    for name, k in (("top-1", 1), ("top-5", 5)):
        hit_M = (rank_PM < k).mean(0)
        low, high = np.percentile(hit_M[draws].mean(1), [2.5, 97.5])
        out[name] = {"mean": float(hit_M.mean()), "low": float(low), "high": float(high)}
    return out


def difference(
    a_PM: NDArray[np.float64], b_PM: NDArray[np.float64], n_resamples: int = 1000
) -> dict[str, float]:
    """Top-1 of one less that of another, the same images resampled."""
    hit_M = (a_PM < 1).mean(0) - (b_PM < 1).mean(0)
    draws = np.random.default_rng(0).integers(len(hit_M), size=(n_resamples, len(hit_M)))
    low, high = np.percentile(hit_M[draws].mean(1), [2.5, 97.5])
    return {"mean": float(hit_M.mean()), "low": float(low), "high": float(high)}


def _of_lobes(batch: SignalBatch, person: Person, lobes: Sequence[str] | None) -> SignalBatch:
    if lobes is None:
        return batch
    return batch.take(torch.from_numpy(np.flatnonzero(np.isin(person.lobe_C, lobes))))


def _bins(
    store: Store, ref: WindowRef, kept: NDArray[np.bool_], cache: dict[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """(F,) means of a window's parcels, in units of the run."""
    if ref.recording not in cache:
        n = int(store.recordings["n_samples"].iat[ref.recording])
        x_TC = store.read(WindowRef(ref.recording, 0, n)).astype(np.float64)
        cache[ref.recording] = (x_TC - x_TC.mean(0)) / x_TC.std(0).clip(1e-12)
    sfreq = store.sfreq(ref.recording)
    a, b = (round(t * sfreq) for t in (SINCE_S, UNTIL_S))
    part_TC = cache[ref.recording][ref.start : ref.start + ref.length][a : max(b, a + BINS)]
    means = np.stack([p.mean(0) for p in np.array_split(part_TC, BINS)])
    return (means[:, kept] if len(kept) > 1 else means).ravel()


def _by_image(
    told_NE: NDArray[np.float64], names: Sequence[str], pool: Sequence[str]
) -> NDArray[np.float64]:
    which = np.array(names)
    return np.stack([told_NE[which == name].mean(0) for name in pool])


def _unit(x_ME: NDArray[np.float64]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = x_ME / np.linalg.norm(x_ME, axis=1, keepdims=True).clip(1e-12)
    return out
