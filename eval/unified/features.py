"""What is decoded: features of an encoder, and classical ones on a common grid of places.

Shapes: N trials, C channels, A places, F features, W steps, S sources, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.hub import load_model
from brainfm.models.unified import UnifiedEncoder
from brainfm.nn.frames import in_mni
from brainfm.types import SignalBatch
from eval.unified.trials import Trials, to_si

BANDS_HZ = ((1, 4), (4, 8), (8, 13), (13, 30), (30, 60), (60, 95))
N_PLACES = 32
WIDTH_M = 0.025
"""Deviation of the Gaussian with which sensors near a place count."""
SLOW_HZ = 10.0
"""Recordings below this rate are fMRI."""
WAVE_HZ = 10.0
"""Points a second of the slow waveform."""


@torch.no_grad()
def of_encoder(encoder: UnifiedEncoder, trials: Trials) -> NDArray[np.float32]:
    """(N, S * W * D) features of the steps of each trial, encoded with what lies around it."""
    encoder.eval()
    out = []
    for batch, since_N in trials.parts():
        seen = encoder(batch)
        n = max(1, round(trials.length_s / seen.duration_s))
        last = seen.h_BSWD.shape[2] - n
        first_N = (torch.from_numpy(since_N) / seen.duration_s).round().long().clamp(0, last)
        at_NW = first_N[:, None] + torch.arange(n)
        h_NSWD = seen.h_BSWD[torch.arange(len(first_N))[:, None], :, at_NW].transpose(1, 2)
        out.append(h_NSWD.flatten(1))
    return torch.cat(out).float().numpy()


def random_twin(encoder: UnifiedEncoder, seed: int) -> UnifiedEncoder:
    """The same sizes and units of features, weights that learned nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        twin = UnifiedEncoder(encoder.config, encoder.preprocess)
    for mine, theirs in (
        (twin.embedding.fast_unit, encoder.embedding.fast_unit),
        (twin.embedding.bold_unit, encoder.embedding.bold_unit),
    ):
        mine.load_state_dict(theirs.state_dict())
    return twin.eval()


def load_encoder(folder: str) -> UnifiedEncoder:
    """An exported UnifiedEncoder.

    Raises
    ------
    ContractError
        If the folder holds something else.
    """
    model = load_model(folder)
    if not isinstance(model, UnifiedEncoder):
        return UnifiedEncoder.from_pretrained(folder)  # says what it is instead
    return model.eval()


def classical(trials: Trials) -> NDArray[np.float32]:
    """Log band power and the slow waveform at common places; fMRI: the response of each place.

    Places are centres of the training sensors (k-means); a sensor counts at a place by a Gaussian
    of its distance. Where nobody knows positions there is one place, the mean of all sensors.
    """
    measured = [_measure(_inside(*part, trials.length_s), part[0].sfreq) for part in trials.parts()]
    train = [
        i for i, rows in enumerate(_rows(trials)) if trials.split_N[rows[0]] in ("train", "val")
    ]
    places_A3 = _places([_positions(trials.batches[i]) for i in train])
    out = []
    for batch, x_NCF in zip(trials.batches, measured, strict=True):
        away = np.linalg.norm(_positions(batch)[:, None] - places_A3, axis=-1)
        weight_CA = np.exp(-0.5 * (away / WIDTH_M) ** 2) + 1e-9
        weight_CA /= weight_CA.sum(0)
        out.append(np.einsum("ncf,ca->naf", x_NCF, weight_CA).reshape(len(x_NCF), -1))
    return np.concatenate(out).astype(np.float32)


def _rows(trials: Trials) -> list[range]:
    """Rows of each batch among all trials."""
    ends = np.cumsum([len(b) for b in trials.batches])
    return [range(e - len(b), e) for e, b in zip(ends, trials.batches, strict=True)]


def _positions(batch: SignalBatch) -> NDArray[np.float64]:
    pos, _ = in_mni(batch.pos_BC3[:1], batch.ori_BC3[:1], batch.frame)
    return np.nan_to_num(pos[0].double().numpy())


def _places(positions: Sequence[NDArray]) -> NDArray[np.float64]:
    """(A, 3), at most `N_PLACES`."""
    from sklearn.cluster import KMeans

    everywhere = np.concatenate(positions)
    n = min(N_PLACES, len(np.unique(everywhere.round(3), axis=0)))
    centres: NDArray[np.float64] = (
        KMeans(n, n_init=1, random_state=0).fit(everywhere).cluster_centers_
    )
    return centres


def _inside(batch: SignalBatch, since_N: NDArray[np.float64], length_s: float) -> NDArray:
    """(N, C, T) the trials themselves, in units as recorded."""
    x_NCT = to_si(batch).double().numpy()
    n = max(1, round(length_s * batch.sfreq))
    first_N = np.round(since_N * batch.sfreq).astype(int).clip(0, x_NCT.shape[-1] - n)
    return np.stack([x[:, i : i + n] for x, i in zip(x_NCT, first_N, strict=True)])


def _measure(x_NCT: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """(N, C, F) of every sensor, in units of the recording's own trials."""
    if sfreq < SLOW_HZ:
        thirds = np.array_split(x_NCT, 3, axis=-1)
        return np.stack([t.mean(-1) for t in thirds], -1)
    n = x_NCT.shape[-1]
    x_NCT = x_NCT - x_NCT.mean(-1, keepdims=True)
    power = np.abs(np.fft.rfft(x_NCT * np.hanning(n), axis=-1)) ** 2
    hz = np.fft.rfftfreq(n, 1 / sfreq)
    bands = [power[..., (hz >= a) & (hz < b)].mean(-1) for a, b in BANDS_HZ if b <= hz[-1]]
    points = max(1, round(n / sfreq * WAVE_HZ))
    wave = [part.mean(-1) for part in np.array_split(x_NCT, points, axis=-1)]
    # A sensor's own spread: a waveform in volts would vanish beside a logarithm.
    wave = [w / x_NCT.std() for w in wave]
    return np.stack([*(np.log(b + 1e-40) for b in bands), *wave], -1)
