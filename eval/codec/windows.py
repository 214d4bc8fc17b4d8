"""Which windows are coded: the same ones for every coder, by recording, with their scales.

Shapes: B windows, C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainfm.data.collate import batch_from_arrays, usable_channels
from brainfm.data.index import select
from brainfm.data.store import Store
from brainfm.data.windows import Cut, cut_windows
from brainfm.errors import DataError
from brainfm.signals.preprocess import Normalise
from brainfm.types import Channels, SignalBatch

NUMBER_BITS = 16
"""What one scale or offset costs; it is rounded to that before anything is coded."""
FLAT_SHARE = 1e-3
"""A channel's window that varies less than this, against the median of its kind in the recording,
is a dropout: its relative errors say nothing and would drown all others."""
OCTAVE = 512
"""Steps of a scale in an octave: 16 bits then span 128 octaves."""

Array = NDArray[np.float64]


@dataclass
class Piece:
    """Windows of one recording.

    Attributes
    ----------
    path, group, kind, layout : of the recording; `group` is who was recorded
    x_BCT : SI units
    valid_BC : False where a channel is flat or not finite in a window
    """

    path: str
    group: str
    kind: str
    layout: str
    simulated: bool
    channels: Channels
    sfreq: float
    lowpass_hz: float | None
    x_BCT: Array
    valid_BC: NDArray[np.bool_]

    @property
    def channel_seconds(self) -> float:
        """Seconds of all valid channels and windows."""
        return float(self.valid_BC.sum() * self.x_BCT.shape[2] / self.sfreq)


@dataclass
class Cast:
    """Rows of the store to test on and to fit on, and what was left out."""

    test: list[int]
    train: list[int]
    notes: list[str]


def cast(store: Store, query: str | None, split: str, train_query: str | None = None) -> Cast:
    """Who is tested, and who fits tables and baselines (always split 'train').

    Raises
    ------
    DataError
        If nobody is left for one of the two.
    """
    chosen = select(store, query)
    teachers = select(store, train_query) if train_query else chosen
    test = [int(r) for r in chosen.index[chosen["split"] == split]]
    train = [int(r) for r in teachers.index[teachers["split"] == "train"]]
    for rows, name in ((test, split), (train, "train")):
        if not rows:
            raise DataError(
                f"{store.root}: of {len(chosen)} recordings that match, none is of split "
                f"'{name}'; change --recordings, --train or --split"
            )
    table = store.recordings["split_group"]
    both = set(table.iloc[test]) & set(table.iloc[train])
    if both:
        raise DataError(
            f"{store.root}: '{sorted(both)[0]}' has recordings of split '{split}' and of split "
            "'train'; give each person one split"
        )
    return Cast(test, train, [])


def read_pieces(
    store: Store, rows: Sequence[int], window_s: float, step: int, n_windows: int, notes: list[str]
) -> list[Piece]:
    """Windows of recordings, evenly spread over each.

    Parameters
    ----------
    step : samples; a window holds a whole number of them
    n_windows : at most, of each recording
    notes : told what is left out
    """
    out, short, flat = [], [], []
    # A codec's step need not divide the window asked for.
    whole_s = round(window_s * store.recipe.sfreq) // step * step / store.recipe.sfreq
    for row in rows:
        one = store.recordings.loc[[row]]
        step_s = step / store.recipe.sfreq
        windows = cut_windows(store, one, Cut(window_s, min_s=whole_s, patch_s=step_s))
        if not len(windows):
            short.append(str(store.path(row)))
            continue
        at = np.unique(np.linspace(0, len(windows) - 1, min(n_windows, len(windows))).round())
        piece = _piece(store, row, one, windows.refs(at.astype(int)))
        if piece is None:
            flat.append(str(store.path(row)))
        else:
            out.append(piece)
            if not piece.valid_BC.all():
                notes.append(_bad_channels(piece))
    for names, why in ((short, f"shorter than a window of {window_s:g} s"), (flat, "flat")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            notes.append(f"Left out because {why}: {', '.join(names[:3])}{more}.")
    return out


def _piece(store: Store, row: int, one: pd.DataFrame, refs: Sequence[Any]) -> Piece | None:
    x_BCT = np.stack([store.read(ref).T for ref in refs]).astype(np.float64)
    valid_BC = not_flat(x_BCT, np.asarray(store.channels(row).kind))
    some = valid_BC.any(1)
    if not some.any():
        return None
    x_BCT, valid_BC = x_BCT[some], valid_BC[some]
    x_BCT[~valid_BC] = 0.0
    facts = one.iloc[0]
    return Piece(
        str(facts["path"]),
        str(facts["split_group"]),
        str(facts["kind"]),
        str(facts["layout"]),
        "simulated" in str(facts["dataset"]),
        store.channels(row),
        float(store.recipe.sfreq),
        store.recipe.lowpass_hz,
        x_BCT,
        valid_BC,
    )


def not_flat(x_BCT: Array, kind_C: NDArray[Any]) -> NDArray[np.bool_]:
    """(B, C): finite, not constant, and no dropout (`FLAT_SHARE`)."""
    valid_BC = usable_channels(x_BCT)
    std_BC = np.where(valid_BC[..., None], x_BCT, 0.0).std(2)
    for kind in np.unique(kind_C):
        mine = valid_BC & (kind_C == kind)
        if mine.any():
            valid_BC &= ~mine | (std_BC >= FLAT_SHARE * np.median(std_BC[mine]))
    return valid_BC


def _bad_channels(piece: Piece) -> str:
    bad = [piece.channels.name[i] for i in np.flatnonzero(~piece.valid_BC.any(0))]
    n = int((~piece.valid_BC).sum())
    dead = f"; {', '.join(bad)} throughout" if bad else ""
    return (
        f"{piece.path}: {n} of {piece.valid_BC.size} channel windows are flat or not finite and "
        f"are left out{dead}."
    )


def round_scale(scale: Array) -> Array:
    """The nearest scale that `NUMBER_BITS` can say."""
    return np.asarray(2 ** (np.round(np.log2(scale) * OCTAVE) / OCTAVE))


def round_offset(offset: Array, scale: Array) -> Array:
    """The nearest offset that `NUMBER_BITS` can say: multiples of a 512th of the scale."""
    return np.asarray(np.round(offset / scale * OCTAVE) * scale / OCTAVE)


@dataclass
class Scaled:
    """Normalised windows and what it costs to undo that.

    Attributes
    ----------
    x_BCT : (SI - offset) / scale, 0 in invalid channels
    scale_BC1, offset_BC1 : rounded to what `NUMBER_BITS` can say
    bits : of all scales and offsets
    """

    x_BCT: Array
    scale_BC1: Array
    offset_BC1: Array
    bits: float

    def back(self, x_BCT: NDArray[Any]) -> Array:
        """SI units."""
        return np.asarray(x_BCT * self.scale_BC1 + self.offset_BC1, np.float64)


def standardised(piece: Piece) -> Scaled:
    """Each channel's window less its mean, over its standard deviation."""
    scale = round_scale(np.where(piece.valid_BC, piece.x_BCT.std(2), 1.0))
    offset = round_offset(np.where(piece.valid_BC, piece.x_BCT.mean(2), 0.0), scale)
    scale, offset = scale[..., None], offset[..., None]
    x_BCT = np.where(piece.valid_BC[..., None], (piece.x_BCT - offset) / scale, 0.0)
    return Scaled(x_BCT, scale, offset, 2.0 * NUMBER_BITS * float(piece.valid_BC.sum()))


def codec_batch(piece: Piece, normalise: Normalise) -> tuple[SignalBatch, Scaled, Array]:
    """A codec's input by its own normalisation, and the signal it is to give back.

    Returns
    -------
    batch; its scales; target (B, C, T) SI. The target is the stored signal, without the mean over
    channels where the codec's reference is the average
    """
    import torch

    exact = replace(normalise, clip=None)
    batch = batch_from_arrays(
        piece.x_BCT.astype(np.float32), piece.channels, piece.sfreq, exact
    )  # invalid channels are zero in the piece, hence invalid here
    given = batch.scale_BC.double().numpy()[..., None], batch.offset_BC.double().numpy()[..., None]
    target_BCT = piece.x_BCT
    if normalise.reference != "none":
        target_BCT = batch.signal_BCT.double().numpy() * given[0] + given[1]
    scale = round_scale(given[0])
    offset = round_offset(given[1], scale)
    x_BCT = np.where(piece.valid_BC[..., None], (target_BCT - offset) / scale, 0.0)
    numbers = 0
    for b, valid_C in enumerate(piece.valid_BC):
        # Channels of a kind that share a scale send it once.
        numbers += len(np.unique(scale[b, valid_C])) + int(np.any(offset[b])) * int(valid_C.sum())
    limit = normalise.clip if normalise.clip is not None else np.inf
    clipped = torch.from_numpy(np.clip(x_BCT, -limit, limit).astype(np.float32))
    batch = replace(
        batch,
        x_BCWP=clipped[:, :, None],
        scale_BC=torch.from_numpy(scale[..., 0].astype(np.float32)),
        offset_BC=torch.from_numpy(offset[..., 0].astype(np.float32)),
    )
    return batch, Scaled(x_BCT, scale, offset, float(numbers * NUMBER_BITS)), target_BCT
