"""Across kinds: finding the seconds of one recording in another, and how late blood answers.

Shapes: N windows, W steps, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.anatomy import Head
from brainfm.data.collate import batch_from_arrays
from brainfm.data.haemodynamics import Scanner
from brainfm.data.simulated_heads import Devices, prepared, simulate
from brainfm.data.simultaneous import SimultaneousWindows, cut_simultaneous, made_at_once
from brainfm.data.store import Store
from brainfm.data.windows import Cut
from brainfm.errors import DataError
from brainfm.models.unified import UnifiedEncoder
from brainfm.types import Kind, SignalBatch

POOL = 100
TRS_S = (0.72, 1.4, 2.0)
WINDOW_S = 4.0
KINDS = {"EEG": (Kind.EEG,), "MEG": (Kind.MAG, Kind.GRAD)}


Pair = tuple[SignalBatch, SignalBatch]


def twin_windows(store: Store, encoder: UnifiedEncoder, query: str = "") -> list[Pair]:
    """EEG and MEG of the same seconds of test recordings, `POOL` windows in all.

    As many of each head as it takes; windows of a head do not overlap.

    Raises
    ------
    DataError
        If there are fewer than `POOL`.
    """
    from brainfm.data.index import select

    chosen = select(store, query)
    chosen = chosen[(chosen["split"] == "test") & chosen["kind"].isin(list(KINDS))]
    others = made_at_once(store, chosen)
    index = cut_simultaneous(store, chosen, others, Cut(WINDOW_S))
    data = SimultaneousWindows(store, encoder.preprocess, None, others)
    if len(index) < POOL:
        raise DataError(
            f"{store.root}: test recordings made at once hold {len(index)} windows of "
            f"{WINDOW_S:g} s, a pool wants {POOL}; prepare more heads or minutes"
        )
    pairs: list[Pair] = []
    taken = np.linspace(0, len(index) - 1, POOL).round().astype(int)
    for bucket in index.buckets:
        mine = taken[(taken >= bucket.first) & (taken < bucket.first + bucket.count)]
        if not len(mine):
            continue
        batch = data[index.refs(mine)]
        by_kind = {
            name: next(b for b in batch.batches if Kind(int(b.kind_BC[0, 0])) in kinds)
            for name, kinds in KINDS.items()
        }
        pairs.append((by_kind["EEG"], by_kind["MEG"]))
    return pairs


def retrieve(pairs: list[Pair], embed: Callable[[SignalBatch], NDArray]) -> dict[str, Any]:
    """Top-1 and top-5 of finding each window's twin among all, both ways.

    Parameters
    ----------
    embed : a batch to (N, F), compared by the cosine after each feature was brought to mean 0 and
        spread 1 over a batch: whose head a window is must not help to find it
    """
    sides = [np.concatenate([_level(embed(p[i])) for p in pairs]) for i in range(2)]
    eeg, meg = (x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12) for x in sides)
    score_NN = eeg @ meg.T
    out: dict[str, Any] = {"pool": len(eeg)}
    for name, s in (("EEG to MEG", score_NN), ("MEG to EEG", score_NN.T)):
        # Ties count half: a constant embedding is at chance, not at the top.
        own = np.diag(s)[:, None]
        rank = (s > own).sum(1) + 0.5 * ((s == own).sum(1) - 1)
        out[f"{name}, top-1"] = float((rank < 1).mean())
        out[f"{name}, top-5"] = float((rank < 5).mean())
    return out


def _level(x_NF: NDArray) -> NDArray:
    spread_F = x_NF.std(0)
    out: NDArray = (x_NF - x_NF.mean(0)) / np.where(spread_F > 1e-9, spread_F, 1.0)
    return out


def sources(eeg: UnifiedEncoder, meg: UnifiedEncoder) -> Callable[[SignalBatch], NDArray]:
    """Windows as the sources of two encoders, or of one, which each kind's own makes of them."""

    @torch.no_grad()
    def embed(batch: SignalBatch) -> NDArray:
        encoder = eeg if int(batch.kind_BC[0, 0]) == Kind.EEG else meg
        return encoder(batch).h_BSWD.flatten(1).double().numpy()

    return embed


def matched(encoder: UnifiedEncoder) -> Callable[[SignalBatch], NDArray]:
    """Windows as the encoder's matcher sees them."""

    @torch.no_grad()
    def embed(batch: SignalBatch) -> NDArray:
        return encoder.matcher(encoder(batch)).flatten(1).double().numpy()

    return embed


def envelopes(batch: SignalBatch) -> NDArray:
    """A rival that learns nothing: log band power of half seconds, mean over sensors."""
    from eval.unified.features import BANDS_HZ

    x_NCT = batch.signal_BCT.double().numpy()
    parts = np.array_split(x_NCT, round(2 * batch.seconds), axis=-1)
    rows = []
    for part in parts:
        hz = np.fft.rfftfreq(part.shape[-1], 1 / batch.sfreq)
        power = np.abs(np.fft.rfft(part * np.hanning(part.shape[-1]), axis=-1)) ** 2
        rows += [
            np.log(power[..., (hz >= a) & (hz < b)].mean(-1) + 1e-12).mean(1)
            for a, b in BANDS_HZ
            if ((hz >= a) & (hz < b)).any()
        ]
    return np.stack(rows, 1)


@torch.no_grad()
def alike_at_trs(encoder: UnifiedEncoder, trs_s: Sequence[float] = TRS_S) -> dict[str, float]:
    """Cosine of features of one SIMULATED brain's blood, scanned without noise, to those at 1 s.

    Returns
    -------
    dict: TR -> mean cosine over windows of 40 s, and "other windows" at the same TR, to compare
    """
    windows: dict[float, torch.Tensor] = {}
    for tr_s in (1.0, *trs_s):
        scanner = Scanner(tr_s=tr_s, spikes_per_min=0.0)
        (made,) = simulate([Head(977)], 200.0, ["BOLD"], devices=Devices(noise=0, scanner=scanner))
        r = prepared(made, encoder.preprocess.recipe)
        parts = []
        for at_s in (20, 60, 100, 140):
            first, n = round((at_s - r.start_s) * r.sfreq), round(40 * r.sfreq)
            x_1CT = np.ascontiguousarray(r.signal[first : first + n].T[None], np.float32)
            batch = batch_from_arrays(x_1CT, r.channels, r.sfreq, encoder.preprocess.normalise)
            parts.append(encoder(batch).h_BSWD.flatten().double())
        windows[tr_s] = torch.stack(parts)
    first_MF = windows[1.0]

    def cosine(h_MF: torch.Tensor) -> float:
        return float(torch.nn.functional.cosine_similarity(h_MF, first_MF, dim=1).mean())

    found = {f"{tr_s:g} s": cosine(windows[tr_s]) for tr_s in trs_s}
    return {**found, "other windows": cosine(first_MF.roll(1, 0))}


def lag_of(encoder: UnifiedEncoder, step_s: float) -> dict[str, Any]:
    """The learned impulse response from electrophysiology to BOLD, and where it peaks."""
    response_K = encoder.lag.response_K.detach().double().numpy()
    sign = np.sign(response_K[np.abs(response_K).argmax()])
    k = int((sign * response_K).argmax())
    return {
        "lag_s": (np.arange(len(response_K)) + 0.5) * step_s,
        "response": sign * response_K,
        "peak_s": (k + 0.5) * step_s,
    }
