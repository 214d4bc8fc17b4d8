"""From windows on disk to one `SignalBatch`: read, check, normalise, cut into steps.

Shapes: B batch, C channels, T samples, W window steps, P samples in a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.signals.normalise import normalise_window
from brainfm.signals.preprocess import Normalise, Preprocess, require_same
from brainfm.types import Channels, SignalBatch, WindowRef


class WindowDataset(torch.utils.data.Dataset[SignalBatch]):
    """A store seen as batches: `dataset[refs]` is the batch of those windows.

    The sampler owns time and the store owns storage, so this has no length and no order.

    Parameters
    ----------
    store : Store
    preprocess : contract; its recipe must be the store's, its normalisation is applied here
    patch : samples in a step; every window must hold a whole number of them. None: one step
    bold_patch_s : seconds of a step of fMRI, rounded to whole frames. Default: one step

    Raises
    ------
    ContractError
        If the recipe is not the store's.
    """

    def __init__(
        self,
        store: Store,
        preprocess: Preprocess,
        patch: int | None = None,
        bold_patch_s: float | None = None,
    ) -> None:
        require_store_recipe(preprocess, store)
        self.store, self.preprocess, self.patch = store, preprocess, patch
        self.bold_patch_s = bold_patch_s

    def __getitem__(self, refs: Sequence[WindowRef]) -> SignalBatch:
        first = refs[0]
        channels = self.store.channels(first.recording)
        x_BCT = np.empty((len(refs), len(channels), first.length), np.float32)
        for x_CT, ref in zip(x_BCT, refs, strict=True):
            x_CT[:] = self.store.read(ref).T
        sfreq, patch = self.store.sfreq(first.recording), self.patch
        if self.store.is_bold(first.recording):
            patch = whole_frames(self.bold_patch_s, sfreq)
        batch = batch_from_arrays(x_BCT, channels, sfreq, self.preprocess.normalise, patch)
        batch.refs = list(refs)
        start = [[self.store.start_s(r.recording) + r.start / sfreq] for r in refs]
        batch.time_BW += torch.tensor(start, dtype=torch.float64)
        batch.subject_B = torch.tensor([self.store.person(r.recording) for r in refs])
        return batch


def whole_frames(seconds: float | None, sfreq: float) -> int | None:
    """Frames of fMRI in a step: at least one, rounded (20 s at a TR of 0.72 s: 28)."""
    return None if seconds is None else max(1, round(seconds * sfreq))


def require_store_recipe(preprocess: Preprocess, store: Store) -> None:
    """Raise `ContractError` naming both values if the store was prepared otherwise."""
    require_same(
        preprocess.recipe, store.recipe, my_name="the model's recipe", their_name=f"{store.root}"
    )


def batch_from_arrays(
    x_BCT: NDArray[Any],
    channels: Channels,
    sfreq: float,
    normalise: Normalise,
    patch: int | None = None,
    target: Any = None,
) -> SignalBatch:
    """Normalise windows of one layout and put them into a `SignalBatch`.

    A channel that is flat or not finite in a window is marked invalid there, its samples are 0,
    and it has no part in the scale of the others.

    Parameters
    ----------
    x_BCT : SI units
    channels : sensors of the C axis
    sfreq : Hz
    normalise : what happens to each window
    patch : samples in a step. None: the whole window is one
    target : (B,) integers, or None

    Raises
    ------
    DataError
        If T is not a whole number of steps, or shapes do not fit.
    """
    n_batch, n_channels, n_samples = x_BCT.shape
    if n_channels != len(channels):
        raise DataError(f"windows have {n_channels} channels, the sensors are {len(channels)}")
    patch = patch or n_samples
    if n_samples % patch:
        raise DataError(
            f"a window of {n_samples} samples is no whole number of steps of {patch}; "
            f"cut it to {n_samples - n_samples % patch}"
        )
    x = np.empty((n_batch, n_channels, n_samples), np.float32)
    scale = np.ones((n_batch, n_channels), np.float32)
    offset = np.zeros((n_batch, n_channels), np.float32)
    valid = usable_channels(x_BCT)
    for b in range(n_batch):
        if valid[b].all():
            done = normalise_window(x_BCT[b], channels.kind, normalise, channels.unit)
            x[b], scale[b], offset[b] = done
            continue
        rows = np.flatnonzero(valid[b])
        x[b] = 0
        if len(rows):
            units = [channels.unit[i] for i in rows]
            done = normalise_window(x_BCT[b, rows], channels.kind[rows], normalise, units)
            x[b, rows], scale[b, rows], offset[b, rows] = done
    steps = n_samples // patch
    each = (n_batch, n_channels, 3)
    return SignalBatch(
        x_BCWP=torch.from_numpy(x.reshape(n_batch, n_channels, steps, patch)),
        pos_BC3=torch.from_numpy(np.broadcast_to(channels.pos_m, each).copy()),
        ori_BC3=torch.from_numpy(np.broadcast_to(channels.ori, each).copy()),
        kind_BC=torch.from_numpy(np.broadcast_to(channels.kind, each[:2]).astype(np.int64)),
        valid_BC=torch.from_numpy(valid),
        time_BW=torch.from_numpy(np.tile(np.arange(steps) * patch / sfreq, (n_batch, 1))),
        scale_BC=torch.from_numpy(scale),
        offset_BC=torch.from_numpy(offset),
        sfreq=float(sfreq),
        frame=channels.frame,
        reference="average" if normalise.reference == "average" else channels.reference,
        target_B=None if target is None else torch.as_tensor(target, dtype=torch.int64),
    )


def usable_channels(x_BCT: NDArray[Any]) -> NDArray[np.bool_]:
    """(B, C): finite and not constant in this window."""
    low, high = x_BCT.min(2), x_BCT.max(2)
    # NaN and infinity spread through min and max; a constant has no range.
    return np.isfinite(low) & np.isfinite(high) & (high > low)
