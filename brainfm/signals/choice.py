"""Which contacts of an intracranial recording to keep: strong ones without outliers.

The score is MVPFormer's, variance over one plus kurtosis (arXiv 2506.20354; its released program
does not hold it). The paper's count of channels is not known to us: the default is what the
published model can take at most. Shapes: T samples, C channels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types import Kind, Recording

MOST = 128
"""Rows of the published model's channel table."""


def channel_scores(x_TC: NDArray[np.floating]) -> NDArray[np.float64]:
    """Variance over one plus kurtosis, of each channel.

    Parameters
    ----------
    x_TC : any unit, one for all channels

    Returns
    -------
    array (C,); 0 for a constant channel. Kurtosis is Pearson's, 3 for a normal distribution and
    never below 1: with the excess over 3 the divisor could be zero.
    """
    scores = np.zeros(x_TC.shape[1])
    # One channel at a time: recordings are large, and double precision doubles them.
    for c in range(len(scores)):
        x_T = x_TC[:, c].astype(np.float64)
        x_T -= x_T.mean()
        variance = float(np.mean(x_T**2))
        if variance > 0:
            scores[c] = variance / (1 + float(np.mean((x_T / variance**0.5) ** 4)))
    return scores


def best_contacts(recording: Recording, n: int = MOST) -> Recording:
    """The recording with the `n` best of its ECoG and sEEG channels, in their old order.

    Channels of other kinds stay. Each recording is judged by its own samples, inside
    `intervals_s`: two parts of one patient may keep different contacts.

    Raises
    ------
    DataError
        If `n` is below 1.
    """
    if n < 1:
        raise DataError(f"{recording.name}: {n} contacts are to be kept; give 1 or more")
    inside = np.isin(recording.channels.kind, (Kind.ECOG, Kind.SEEG))
    rows = np.flatnonzero(inside)
    if len(rows) <= n:
        return recording
    spans = recording.intervals_s or [(0.0, recording.duration_s)]
    cuts = [slice(round(a * recording.sfreq), round(b * recording.sfreq)) for a, b in spans]
    x_TC = np.concatenate([recording.signal[s][:, rows] for s in cuts])
    order = np.argsort(-channel_scores(x_TC), kind="stable")
    keep = np.sort(np.concatenate([np.flatnonzero(~inside), rows[order[:n]]]))
    note = (
        f"the best {n} of {len(rows)} contacts by variance over kurtosis (arXiv 2506.20354) are "
        "kept"
    )
    return replace(
        recording,
        signal=np.ascontiguousarray(recording.signal[:, keep]),
        channels=recording.channels.take(keep.tolist()),
        notes=[*recording.notes, note],
    )
