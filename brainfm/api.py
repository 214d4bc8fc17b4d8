"""`brainfm.encode`: features of an MNE object, with times and the story of its channels.

Shapes: n windows or epochs, S latent sources, W steps, D width, C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import ContractError, DataError
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import Channels, Recording


@dataclass
class Encoded:
    """Features of a recording or of epochs, and where they come from.

    Attributes
    ----------
    features : (n, S, W, D) float32
    valid : (n, S) bool, False where a window had no usable channel
    time_s : (n, W) seconds: start of each step, from the first sample of the recording, or from
        the event of an epoch
    duration_s : seconds of signal one step covers
    channels : Channels the model saw
    dropped : names of the recording's channels that the model did not see
    sfreq : Hz of the signal the model saw
    notes : what was changed on the way, one sentence each
    """

    features: NDArray[np.float32]
    valid: NDArray[np.bool_]
    time_s: NDArray[np.float64]
    duration_s: float
    channels: Channels
    dropped: tuple[str, ...]
    sfreq: float
    notes: list[str] = field(default_factory=list)

    def pooled(self) -> NDArray[np.float32]:
        """Mean over valid sources and steps, (n, D); NaN where nothing was valid."""
        kept = np.where(self.valid[:, :, None], self.features.mean(2, dtype=np.float64), 0.0)
        with np.errstate(invalid="ignore"):
            return (kept.sum(1) / self.valid.sum(1, keepdims=True)).astype(np.float32)

    def summary(self) -> dict[str, Any]:
        """Sizes, times and provenance as plain values."""
        n, s, w, d = self.features.shape
        return {
            "windows": n,
            "sources": s,
            "steps": w,
            "width": d,
            "step_s": self.duration_s,
            "start_s": float(self.time_s.min()),
            "stop_s": float(self.time_s.max() + self.duration_s),
            "sfreq": self.sfreq,
            "channels": list(self.channels.name),
            "dropped": list(self.dropped),
            "notes": list(self.notes),
        }

    def save(self, path: str | Path) -> Path:
        """Write a `.npz` of arrays (no pickle), with `summary` as JSON text."""
        import json

        path = Path(path)
        np.savez_compressed(
            path,
            features=self.features,
            valid=self.valid,
            time_s=self.time_s,
            summary=np.array(json.dumps(self.summary())),
        )
        return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")

    def __repr__(self) -> str:
        n, s, w, d = self.features.shape
        lost = f", {len(self.dropped)} left out" if self.dropped else ""
        return (
            f"Encoded({n} windows x {s} sources x {w} steps of {self.duration_s:g} s x {d}; "
            f"{len(self.channels)} channels at {self.sfreq:g} Hz{lost})"
        )


def encode(
    raw_or_epochs: Any,
    checkpoint: str | Path | None = None,
    *,
    model: Any = None,
    window_s: float = 10.0,
    line_freq: float | None = None,
    batch_size: int = 8,
    source: str = "",
) -> Encoded:
    """Features of an `mne.io.Raw` or `mne.Epochs`, prepared as the model's contract says.

    Windows do not overlap and never cross what is annotated as bad. A recording shorter than
    `window_s` is one window. The prepared signal is held once; windows pass the model
    `batch_size` at a time, so memory does not grow with the number of windows otherwise.

    Parameters
    ----------
    raw_or_epochs : mne.io.BaseRaw or mne.BaseEpochs, SI units as MNE has them. Epochs are
        resampled but not filtered: their filter has to come before they are cut
    checkpoint : folder of `save_pretrained`
    model : a loaded model instead of a folder
    window_s : length of a window; rounded down to whole windows of the codec
    line_freq : Hz, where the recording does not say
    source : name of the file, for error messages

    Returns
    -------
    Encoded

    Raises
    ------
    DataError
        If the recording holds nothing the model can read, or is shorter than a code.
    ContractError
        If there is no model, or it has no preprocessing contract.

    Examples
    --------
    >>> raw = mne.io.read_raw_edf("S001R02.edf")  # doctest: +SKIP
    >>> brainfm.encode(raw, "runs/demo/encoder/export").features.shape  # doctest: +SKIP
    (6, 16, 52, 128)
    """
    if not 0 < window_s < float("inf"):
        raise ContractError(f"window_s is {window_s}; give seconds, more than 0")
    model = _model(checkpoint, model)
    kind, (window, hop) = _kind(raw_or_epochs), _sizes(model)
    prepare = _from_epochs if kind == "epochs" else _from_raw
    recording, windows, start_s = prepare(
        raw_or_epochs, model.preprocess.recipe, window_s, window, line_freq, source
    )
    n_samples = windows[0][1] - windows[0][0] if windows else 0
    if n_samples < hop:
        raise DataError(
            f"{source or kind}: its longest stretch has {n_samples} samples at "
            f"{recording.sfreq:g} Hz, fewer than the {hop} of a code; give longer stretches"
        )
    signal_CT = recording.signal.T
    cuts = (signal_CT[:, a:b] for a, b in windows)
    features, valid, time_W, duration_s = _run(model, cuts, recording, batch_size)
    seen = recording.channels
    return Encoded(
        features=features,
        valid=valid,
        time_s=np.asarray(start_s)[:, None] + time_W[None],
        duration_s=duration_s,
        channels=seen,
        dropped=_dropped(raw_or_epochs.ch_names, seen),
        sfreq=recording.sfreq,
        notes=recording.notes,
    )


def encode_file(
    path: str | Path,
    checkpoint: str | Path | None = None,
    *,
    model: Any = None,
    window_s: float = 10.0,
    line_freq: float | None = None,
) -> Encoded:
    """`encode` of any file that MNE reads (EDF, BDF, FIF, BrainVision, EEGLAB, CTF, KIT, ...).

    Raises
    ------
    DataError
        If the file is missing, damaged, or not what its name says; see `encode` for the rest.
    """
    from brainfm.signals.files.raw import read_raw

    model = _model(checkpoint, model)
    raw, notes = read_raw(path)
    encoded = encode(raw, model=model, window_s=window_s, line_freq=line_freq, source=str(path))
    encoded.notes[:0] = notes
    return encoded


def _model(checkpoint: str | Path | None, model: Any) -> Any:
    if (checkpoint is None) == (model is None):
        raise ContractError("encode needs either a checkpoint folder or a model, and not both")
    if model is None:
        from brainfm.hub import load_model

        model = load_model(checkpoint)
    if not isinstance(getattr(model, "preprocess", None), Preprocess):
        raise ContractError(
            f"{type(model).__name__} has no preprocessing contract; give it one "
            "(model.preprocess = Preprocess(...)) or load it with load_model"
        )
    return model


def _kind(thing: Any) -> str:
    import mne

    if isinstance(thing, mne.io.BaseRaw):
        return "raw"
    if isinstance(thing, mne.BaseEpochs):
        return "epochs"
    raise DataError(
        f"encode takes an mne Raw or Epochs, not {type(thing).__name__}; wrap an array in "
        "mne.io.RawArray with mne.create_info"
    )


def _sizes(model: Any) -> tuple[int, int]:
    """Samples of the codec's window and of its hop; of those that have one of them, that one."""
    config = getattr(model, "tokenizer", model).config
    window, hop = (getattr(config, name, None) for name in ("window", "hop"))
    return window or hop or 1, hop or window or 1


def _from_raw(
    raw: Any,
    recipe: Recipe,
    window_s: float,
    step: int,
    line_freq: float | None,
    source: str,
) -> tuple[Recording, list[tuple[int, int]], list[float]]:
    """Recording, windows (first and one-past-last sample) and their starts in seconds."""
    from brainfm.signals.recording import recording_from_raw

    files = [str(f) for f in getattr(raw, "filenames", ()) if f]
    source = source or (files[0] if files else "recording")
    recording = recording_from_raw(raw, recipe=recipe, line_freq=line_freq, source=source)
    sfreq = recording.sfreq
    spans = [(round(a * sfreq), round(b * sfreq)) for a, b in recording.intervals_s]
    longest = max(b - a for a, b in spans)
    length = max(step, int(window_s * sfreq) // step * step)
    if longest < length:
        # Shorter than a codec window: the model pads it with zeros.
        length = longest // step * step or max(1, longest)
    windows = [(i, i + length) for a, b in spans for i in range(a, b - length + 1, length)]
    left_s = (sum(b - a for a, b in spans) - length * len(windows)) / sfreq
    if left_s > 1 / sfreq:
        recording.notes.append(
            f"{left_s:.4g} s at the ends of stretches are shorter than a window of "
            f"{length / sfreq:g} s and not encoded"
        )
    return recording, windows, [a / sfreq for a, _ in windows]


def _from_epochs(
    epochs: Any,
    recipe: Recipe,
    window_s: float,
    step: int,
    line_freq: float | None,
    source: str,
) -> tuple[Recording, list[tuple[int, int]], list[float]]:
    """As `_from_raw`; every epoch is one window."""
    import mne

    from brainfm.signals.filters import resample_trial
    from brainfm.signals.recording import recording_from_raw

    data_NCT = epochs.get_data(copy=True)
    if len(data_NCT) == 0:
        raise DataError(f"{source or 'epochs'}: no epoch is left; check the rejection limits")
    n, _, t = data_NCT.shape
    sfreq = float(epochs.info["sfreq"])
    joined = mne.io.RawArray(np.concatenate(list(data_NCT), 1), epochs.info, verbose="ERROR")
    as_is = Recipe(sfreq=sfreq, highpass_hz=None, lowpass_hz=None, notch=False)
    recording = recording_from_raw(joined, recipe=as_is, source=source or "epochs")
    # Rest in every channel is cut from the end of a recording; an epoch keeps its length.
    lost = set(_dropped(epochs.ch_names, recording.channels))
    kept = [i for i, name in enumerate(epochs.ch_names) if name not in lost]
    rest_TC = joined.get_data(kept, start=len(recording.signal)).T
    trials = [
        resample_trial(x_TC, sfreq, recipe.sfreq) if sfreq != recipe.sfreq else x_TC
        for x_TC in np.concatenate([recording.signal, rest_TC]).reshape(n, t, -1)
    ]
    length = len(trials[0])
    signal = np.concatenate(trials).astype(np.float32)
    notes = [
        *(note.removesuffix(", cut out") for note in recording.notes),
        "epochs are resampled but not filtered again; the model expects "
        f"{recipe.highpass_hz} to {recipe.lowpass_hz} Hz",
    ]
    windows = [(i * length, (i + 1) * length) for i in range(n)]
    recording = replace(
        recording, signal=signal, sfreq=float(recipe.sfreq), intervals_s=[], events=[], notes=notes
    )
    return recording, windows, [float(epochs.tmin)] * n


def _run(
    model: Any, cuts: Iterator[NDArray], recording: Recording, batch_size: int
) -> tuple[NDArray, NDArray, NDArray, float]:
    """Features, validity, step times and duration of all windows, a batch at a time."""
    import torch

    from brainfm.data.collate import batch_from_arrays

    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    features, valid = [], []
    part: list[NDArray] = []

    def flush() -> None:
        nonlocal time_W, duration_s
        batch = batch_from_arrays(
            np.stack(part), recording.channels, recording.sfreq, model.preprocess.normalise
        )
        out = _features(model, batch.to(device))
        features.append(out[0].float().cpu().numpy())
        valid.append(out[1].cpu().numpy())
        time_W, duration_s = out[2].cpu().numpy(), out[3]
        part.clear()

    time_W, duration_s = np.zeros(0), 0.0
    with torch.no_grad():
        for x_CT in cuts:
            part.append(x_CT)
            if len(part) == batch_size:
                flush()
        if part:
            flush()
    model.train(was_training)
    return np.concatenate(features), np.concatenate(valid), time_W, duration_s


def _features(model: Any, batch: Any) -> tuple[Any, Any, Any, float]:
    """Encoder features, or a codec's dequantised ones."""
    from brainfm.codecs.base import Codec

    if isinstance(model, Codec):
        codes = model.encode(batch)
        valid_BS = batch.valid_BC.any(1, keepdim=True).expand(-1, codes.latent_BSWD.shape[1])
        return codes.latent_BSWD, valid_BS, codes.time_W, codes.duration_s
    found = model(batch)
    return found.h_BSWD, found.valid_BS, found.time_W, found.duration_s


def _dropped(names: list[str], seen: Channels) -> tuple[str, ...]:
    """Channels of the recording without a counterpart; cleaned names count as the same."""
    from brainfm.signals.names import clean_names

    # Duplicates were settled (or refused) before.
    cleaned = clean_names(names, duplicates="first").names
    kept = set(seen.name)
    return tuple(n for n, c in zip(names, cleaned, strict=True) if c not in kept)
