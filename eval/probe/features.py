"""What a model knows of a trial, at several depths.

Taps: "patches" (each channel's linear path alone, where the codec has one), "sensors" (with the
codec's waveform encoder), "sources" (after sources have looked at all sensors, before quantisation
or attention), "codes" (dequantised), "encoder" (the transformer's output).

Shapes: N trials, S sources or sensors, W steps, D width, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.codecs.braintokenizer import BrainTokenizer, unfold_windows
from brainfm.data.collate import batch_from_arrays
from brainfm.errors import ContractError
from brainfm.hub import BrainModel
from brainfm.models.brainomni import BrainOmni
from brainfm.models.unified import UnifiedEncoder
from brainfm.signals.preprocess import Normalise
from brainfm.types import Channels, SignalBatch


def tokenizer_of(model: BrainModel) -> BrainTokenizer:
    """The codec inside an encoder, or the codec itself."""
    tokenizer = getattr(model, "tokenizer", model)
    if isinstance(model, UnifiedEncoder):
        raise ContractError(
            "a UnifiedEncoder has no tokenizer; --routes baselines frozen random can be probed"
        )
    if not isinstance(tokenizer, BrainTokenizer):
        raise ContractError(
            "the probe knows BrainTokenizer, BrainOmni and UnifiedEncoder, not "
            f"{type(model).__name__}"
        )
    return tokenizer


def pack(model: BrainModel) -> dict[str, Any]:
    """A model as values that travel between processes; weight norm does not pickle by itself."""
    return {
        "class": type(model),
        "config": model.config,
        "preprocess": model.preprocess,
        "state": model.state_dict(),
    }


def unpack(packed: dict[str, Any]) -> BrainModel:
    """Inverse of `pack`."""
    with torch.random.fork_rng():
        model = packed["class"](packed["config"], packed["preprocess"])
    model.load_state_dict(packed["state"])
    return model.eval()


def taps_of(model: BrainModel) -> tuple[str, ...]:
    """Depths at which a model can be read, shallow to deep."""
    if isinstance(model, UnifiedEncoder):
        return ("sources", "encoder")
    taps = ("sensors", "sources", "codes")
    if tokenizer_of(model).config.linear_path:
        taps = ("patches", *taps)
    return (*taps, "encoder") if isinstance(model, BrainOmni) else taps


@torch.no_grad()
def read_taps(
    model: BrainModel,
    x_NCT: NDArray[np.float32],
    channels: Channels,
    sfreq: float,
    normalise: Normalise,
    taps: Sequence[str],
    batch_size: int = 64,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float64]]:
    """Features of trials, tap -> (N, S, W, D), and the scale (N,) that normalisation took out.

    Parameters
    ----------
    x_NCT : SI units, or any unit where channels say "au"
    taps : which of `taps_of(model)`
    """
    model.eval()
    parts: dict[str, list[torch.Tensor]] = {tap: [] for tap in taps}
    scale_N: list[torch.Tensor] = []
    for i in range(0, len(x_NCT), batch_size):
        batch = batch_from_arrays(x_NCT[i : i + batch_size], channels, sfreq, normalise)
        for tap, h_BSWD in _read_batch(model, batch, taps).items():
            parts[tap].append(h_BSWD)
        scale_N.append(trial_scale(batch))
    return {tap: torch.cat(h).numpy() for tap, h in parts.items()}, torch.cat(scale_N).numpy()


def trial_scale(batch: SignalBatch) -> torch.Tensor:
    """Geometric mean over valid channels of what SI values were divided by, (B,) float64."""
    log_BC = batch.scale_BC.double().log()
    n_B = batch.valid_BC.sum(1).clamp_min(1)
    return (torch.where(batch.valid_BC, log_BC, 0.0).sum(1) / n_B).exp()


def _read_batch(
    model: BrainModel, batch: SignalBatch, taps: Sequence[str]
) -> dict[str, torch.Tensor]:
    if isinstance(model, UnifiedEncoder):
        return _read_stream(model, batch, taps)
    tokenizer = tokenizer_of(model)
    out = {}
    if {"patches", "sensors", "sources", "codes"} & set(taps):
        x_BCNP = unfold_windows(batch.signal_BCT, tokenizer.config.window)
        if "patches" in taps:
            out["patches"] = tokenizer.encode_patches(x_BCNP).flatten(2, 3)
        if "sensors" in taps:
            out["sensors"] = tokenizer.encode_sensors(x_BCNP).flatten(2, 3)
        if {"sources", "codes"} & set(taps):
            sensors = tokenizer.embed_sensors(batch)
            z = tokenizer.encode_windows(x_BCNP, sensors, batch.valid_BC)
            out["sources"] = z.flatten(2, 3)
            if "codes" in taps:
                out["codes"] = tokenizer.quantise(z, update=False).latent.flatten(2, 3)
    if "encoder" in taps:
        out["encoder"] = model(batch).h_BSWD
    return {tap: out[tap].float() for tap in taps}


def _read_stream(
    model: UnifiedEncoder, batch: SignalBatch, taps: Sequence[str]
) -> dict[str, torch.Tensor]:
    out = {}
    if "sources" in taps:
        stream = model.embedding(batch)
        x_BGSD, _ = model.sources(stream, stream.valid_BN)
        out["sources"] = x_BGSD.transpose(1, 2).float()
    if "encoder" in taps:
        out["encoder"] = model(batch).h_BSWD.float()
    return out


def flat(h_NSWD: NDArray) -> NDArray:
    """Every source and step: keeps when things happened, (N, S W D)."""
    return h_NSWD.reshape(len(h_NSWD), -1)


def time_mean(h_NSWD: NDArray) -> NDArray:
    """Mean over steps, (N, S D)."""
    return h_NSWD.mean(2).reshape(len(h_NSWD), -1)


def log_covariance(h_NSWD: NDArray, shrink: float = 1e-2) -> NDArray:
    """How sources vary together, (N, S (S + 1) / 2): matrix logarithm of the S x S covariance.

    Log-Euclidean, Arsigny et al. 2006; the upper triangle, off-diagonal times sqrt(2), so that
    distances are those of matrices. `shrink` is the share of the mean variance added.
    """
    h = h_NSWD.reshape(*h_NSWD.shape[:2], -1).astype(np.float64)
    h = h - h.mean(2, keepdims=True)
    c_NSS = h @ h.transpose(0, 2, 1) / h.shape[2]
    s = c_NSS.shape[1]
    mean_var = np.trace(c_NSS, axis1=1, axis2=2)[:, None, None] / s
    w, v = np.linalg.eigh(c_NSS + (shrink * mean_var + 1e-12) * np.eye(s))
    log_NSS = (v * np.log(w.clip(1e-12))[:, None, :]) @ v.transpose(0, 2, 1)
    i, j = np.triu_indices(s)
    return log_NSS[:, i, j] * np.where(i == j, 1.0, np.sqrt(2.0))


POOLS = {"flat": flat, "time mean": time_mean, "log covariance": log_covariance}


@dataclass(frozen=True)
class Candidate:
    """One way to read a model."""

    tap: str
    pool: str
    aligned: bool = False
    amplitude: bool = False
    """Multiply features by the trial's scale, which normalisation took out: how large a blink
    is tells as much as its shape."""

    def __str__(self) -> str:
        words = [self.tap, self.pool, *(w for w in ("aligned", "amplitude") if getattr(self, w))]
        return ", ".join(words)


def with_amplitude(h_NSWD: NDArray, scale_N: NDArray, usual: float) -> NDArray:
    """Features times the trial's scale against the training set's, at most tenfold."""
    return h_NSWD * np.clip(scale_N / usual, 0.1, 10.0).astype(np.float32)[:, None, None, None]


def candidates_of(model: BrainModel) -> tuple[Candidate, ...]:
    """What the frozen probe chooses from, by cross-validation inside the training set.

    Sensors and the encoder are pooled in every way; of sources and codes, which lie between,
    only what keeps time or space. Amplitude is tried where features keep time.
    """
    pools = {tap: tuple(POOLS) for tap in ("sensors", "encoder")}
    pools |= {"patches": ("flat",), "sources": ("flat", "log covariance"), "codes": ("flat",)}
    return tuple(
        Candidate(tap, pool, aligned, amplitude)
        for aligned in (False, True)
        for tap in taps_of(model)
        for pool in pools[tap]
        for amplitude in ((False, True) if pool == "flat" and tap != "codes" else (False,))
    )
