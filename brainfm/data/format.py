"""One recording on disk: a safetensors file, published whole or not at all.

Shapes: T samples, C channels, K intervals. Tensors `signal` (T, C) int16, float16 or float32 and
`scale` (C) float32; SI value = signal * scale. Everything else is one JSON text in the file's
metadata, under a checksum, so that a flipped byte cannot rename a channel.
"""

import hashlib
import json
import mmap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from brainfm.data.publish import REDO, TEMPORARY, publish, table_of
from brainfm.data.quantise import fingerprint, quantise
from brainfm.data.splits import SPLITS, split_of
from brainfm.data.stimulus import write_stimulus
from brainfm.data.transcript import transcript_of
from brainfm.errors import DataError
from brainfm.signals.intervals import interval_samples
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Event, Recording

__all__ = ["TEMPORARY", "map_samples", "publish", "read_header", "verify_samples"]
__all__ += ["write_recording"]

FORMAT = "brainfm.recording.1"
SINCE = {"stimulus": {}, "start_s": 0.0, "clock": ""}
"""Keys younger than the first headers, and what those meant without them."""
DTYPES = {"int16": "I16", "float16": "F16", "float32": "F32"}


def write_recording(
    recording: Recording, path: str | Path, *, recipe: Recipe, dtype: str | None = None
) -> None:
    """Publish a prepared recording as one file.

    The file appears under its name only when it is complete and on disk (temporary name in the
    same folder, fsync, rename, fsync of the folder): a killed writer or a full disk leaves
    nothing that a reader would see.

    Parameters
    ----------
    recording : SI units, already at the rate of the recipe (`Recipe.rate_of`)
    path : `<store>/<dataset>/<key>.safetensors`
    recipe : what was done to the signal
    dtype : "int16", "float16" or "float32". Default: int16, unless its step would exceed
        `LARGEST_STEP` of some channel's robust spread or samples are not finite; the header's
        notes say so

    Raises
    ------
    DataError
        For an empty recording, a rate that is not the recipe's, an unknown split or dtype,
        events that are not numbers, a transcript or stimulus that does not belong to it, or a
        disk that cannot take the file.
    """
    path = Path(path)
    where = recording.source or str(path)
    _refuse_unusable(recording, recipe, dtype, where)
    stored, scale, notes = quantise(recording.signal, recording.channels, dtype)
    transcript_of(recording.events, recording.duration_s, where)
    header = {
        **_identity(recording),
        "stimulus": write_stimulus(recording, path),
        "dtype": stored.dtype.name,
        "n_samples": int(stored.shape[0]),
        "n_channels": int(stored.shape[1]),
        "channels": recording.channels.to_dict(),
        "events": [[float(e.onset_s), float(e.duration_s), e.label] for e in recording.events],
        "intervals": interval_samples(recording).tolist(),
        "notes": [*recording.notes, *notes],
        "recipe": asdict(recipe),
        "signal_sha256": hashlib.sha256(stored.data).hexdigest(),
        "scale_sha256": hashlib.sha256(scale.data).hexdigest(),
        "fingerprint": fingerprint(stored),
        **_source(recording.source),
    }
    try:
        text = json.dumps(header, allow_nan=False)
    except ValueError as e:
        raise DataError(
            f"{where}: an event, rate or position is not a finite number ({e}); drop it"
        ) from e
    metadata = {"format": FORMAT, "header": text, "header_sha256": _sha(text)}
    with publish(path) as temporary:
        save_file({"signal": stored, "scale": scale}, temporary, metadata=metadata)


def read_header(path: str | Path) -> dict[str, Any]:
    """Everything but the samples, checked against the file's size and its own checksum.

    Returns
    -------
    dict with dataset, subject, session, name, split, split_group, sfreq, n_samples,
    n_channels, dtype, channels (`Channels`), events (list of `Event`), intervals (K, 2) int
    samples, start_s, clock, line_freq, notes, recipe (`Recipe`), source*, signal_sha256,
    fingerprint, stimulus (see `stimulus.write_stimulus`; empty where there is none)

    Raises
    ------
    DataError
        If the file is truncated, damaged or not one of ours.
    """
    path = Path(path)
    raw, start, size = table_of(path)
    try:
        metadata = raw.get("__metadata__", {})
        if metadata.get("format") != FORMAT:
            raise DataError(
                f"{path}: its format is {metadata.get('format')!r}, not {FORMAT!r}; move it out "
                f"of the store, or, if it was prepared by another version, {REDO}"
            )
        if _sha(metadata["header"]) != metadata["header_sha256"]:
            raise DataError(f"{path}: the header does not match its checksum; {REDO}")
        header = json.loads(metadata["header"])
        n, c = header["n_samples"], header["n_channels"]
        found = {k: (v["dtype"], v["shape"]) for k, v in raw.items() if k != "__metadata__"}
        expected = {"signal": (DTYPES[header["dtype"]], [n, c]), "scale": ("F32", [c])}
        if found != expected:
            raise DataError(f"{path}: holds {found} where its header says {expected}; {REDO}")
        end = start + max(raw[k]["data_offsets"][1] for k in expected)
        if end != size:
            raise DataError(f"{path}: has {size} bytes, not the {end} it was written with; {REDO}")
        header["channels"] = Channels.from_dict(header["channels"])
        header["events"] = [Event(*e) for e in header["events"]]
        header["intervals"] = np.array(header["intervals"], np.int64).reshape(-1, 2)
        header["recipe"] = Recipe(**header["recipe"])
        for key, missing in SINCE.items():
            header.setdefault(key, missing)
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{path}: damaged header ({type(e).__name__}: {e}); {REDO}") from e
    return header


def map_samples(path: str | Path) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Samples (T, C) as stored, mapped and not read, and the scale (C) that makes them SI.

    Slices of a plain map cost half of safetensors' `get_slice`, which copies through bytes.

    Raises
    ------
    DataError
        If the file is missing, truncated or damaged.
    """
    path = Path(path)
    raw, start, size = table_of(path)
    arrays = []
    try:
        with open(path, "rb") as f:
            content = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        for key in ("signal", "scale"):
            place = raw[key]
            dtype = {v: k for k, v in DTYPES.items()}[place["dtype"]]
            first, last = place["data_offsets"]
            count = int(np.prod(place["shape"]))
            if start + last > size or last - first != count * np.dtype(dtype).itemsize:
                raise DataError(f"{path}: truncated inside '{key}'; {REDO}")
            flat = np.frombuffer(content, dtype, count, start + first)
            arrays.append(flat.reshape(place["shape"]))
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path}: cannot be mapped ({type(e).__name__}: {e}); {REDO}") from e
    return arrays[0], arrays[1]


def verify_samples(path: str | Path, header: dict[str, Any]) -> None:
    """Compare samples and scales with the checksums of the header.

    Raises
    ------
    DataError
        If a byte changed since the recording was written.
    """
    for key, value in zip(("signal", "scale"), map_samples(path), strict=True):
        if hashlib.sha256(value.data).hexdigest() != header[f"{key}_sha256"]:
            raise DataError(f"{path}: the {key} does not match its checksum; {REDO}")


def _refuse_unusable(r: Recording, recipe: Recipe, dtype: str | None, where: str) -> None:
    if len(r.signal) == 0 or len(r.channels) == 0:
        raise DataError(f"{where}: holds no samples (shape {r.signal.shape}); leave it out")
    rate = recipe.rate_of(r)
    if rate is not None and not np.isclose(r.sfreq, rate, rtol=1e-6):
        raise DataError(
            f"{where}: sfreq is {r.sfreq:g} Hz but the recipe says {rate:g} Hz; "
            "apply the recipe before writing"
        )
    if r.split is not None and r.split not in SPLITS:
        raise DataError(f"{where}: split '{r.split}' is none of {', '.join(SPLITS)}; correct it")
    if dtype is not None and dtype not in DTYPES:
        raise DataError(f"{where}: dtype '{dtype}' is none of {', '.join(DTYPES)}; choose one")
    if not len(interval_samples(r)):
        raise DataError(f"{where}: no interval holds a sample; check its bad annotations")


def _identity(r: Recording) -> dict[str, Any]:
    return {
        "dataset": r.dataset,
        "subject": r.subject,
        "session": r.session,
        "name": r.name,
        "split": r.split or split_of(r.split_group),
        "split_group": r.split_group,
        "sfreq": float(r.sfreq),
        "line_freq": None if r.line_freq is None else float(r.line_freq),
        "start_s": float(r.start_s),
        "clock": r.clock,
    }


def _source(source: str) -> dict[str, Any]:
    """Name, size and sha256 of the file a recording came from; folders have no sha256."""
    path = Path(source)
    known: dict[str, Any] = {"source": path.name, "source_sha256": None, "source_size": None}
    if source and path.is_file():
        with open(path, "rb") as f:
            known["source_sha256"] = hashlib.file_digest(f, "sha256").hexdigest()
        known["source_size"] = path.stat().st_size
    return known


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
