"""What was heard, beside the signal on disk: `<key>.stimulus.safetensors`, one array a feature.

The header of the recording names the features, their rates and the checksum of this file, and is
published after it: a recording that is there has its stimulus.

Shapes: N frames, F features. Arrays are (N, F) float32 from the recording's first sample on.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from brainfm.data.publish import publish, table_of
from brainfm.errors import DataError
from brainfm.types import Recording, Stimulus

FORMAT = "brainfm.stimulus.1"
SUFFIX = ".stimulus.safetensors"
AGAIN = "copy the right one, or delete {} and run `python -m data_prep run` again"
"""What to do where the two files do not belong together; the recording is prepared anew."""
FRAMES_SHORT = 2
"""Frames by which features may miss the end of a recording: windows of analysis end earlier."""


def stimulus_path(path: Path) -> Path:
    """File of the features that belong to the recording at `path`."""
    return path.with_name(path.name.removesuffix(".safetensors") + SUFFIX)


def is_stimulus(path: Path) -> bool:
    return path.name.endswith(SUFFIX)


def write_stimulus(recording: Recording, path: Path) -> dict[str, Any]:
    """Publish the features of a recording beside it; what its header says of them.

    Parameters
    ----------
    recording : with or without `stimulus`
    path : of the recording, `<store>/<dataset>/<key>.safetensors`

    Returns
    -------
    dict with "rate_hz" and "shape" by name and the "sha256" of the file; empty if there is
    nothing to write

    Raises
    ------
    DataError
        If features do not last as long as the recording, or are not finite.
    """
    if not recording.stimulus:
        return {}
    where = recording.source or str(path)
    for name, stimulus in recording.stimulus.items():
        _refuse_misfit(name, stimulus, recording.duration_s, where)
    arrays = {
        name: np.ascontiguousarray(s.values_NF, np.float32)
        for name, s in recording.stimulus.items()
    }
    rates = {name: float(s.rate_hz) for name, s in recording.stimulus.items()}
    metadata = {"format": FORMAT, "rate_hz": json.dumps(rates)}
    beside = stimulus_path(path)
    with publish(beside) as temporary:
        save_file(arrays, temporary, metadata=metadata)
    return {
        "rate_hz": rates,
        "shape": {name: list(a.shape) for name, a in arrays.items()},
        "sha256": _sha256(beside),
    }


def map_stimulus(path: Path, known: dict[str, Any]) -> dict[str, Stimulus]:
    """Features of the recording at `path`, mapped and not read.

    Parameters
    ----------
    known : what the recording's header says of them, from `write_stimulus`

    Raises
    ------
    DataError
        If the file is missing, damaged, or another one than the header names.
    """
    if not known:
        return {}
    beside, again = stimulus_path(path), AGAIN.format(path.name)
    if not beside.is_file():
        raise DataError(f"{beside}: missing, but {path.name} names it: {again}")
    table, start, size = table_of(beside, again)
    found: dict[str, Stimulus] = {}
    try:
        metadata = table.pop("__metadata__", {})
        shapes = {name: place["shape"] for name, place in table.items()}
        if metadata.get("format") != FORMAT or shapes != known["shape"]:
            raise DataError(
                f"{beside}: holds {shapes} where {path.name} names {known['shape']}; it belongs to "
                f"another recording: {again}"
            )
        if json.loads(metadata["rate_hz"]) != known["rate_hz"]:
            raise DataError(
                f"{beside}: its rates are {metadata['rate_hz']}, {path.name} says "
                f"{known['rate_hz']}; {again}"
            )
        with open(beside, "rb") as f:
            content = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        for name, place in table.items():
            first, last = place["data_offsets"]
            count = int(np.prod(place["shape"]))
            if place["dtype"] != "F32" or start + last > size or last - first != 4 * count:
                raise DataError(f"{beside}: truncated inside '{name}'; {again}")
            flat = np.frombuffer(content, np.float32, count, start + first)
            values_NF = flat.reshape(place["shape"])
            found[name] = Stimulus(values_NF, known["rate_hz"][name])
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{beside}: cannot be mapped ({type(e).__name__}: {e}); {again}") from e
    return found


def verify_stimulus(path: Path, known: dict[str, Any]) -> None:
    """Compare the features with the checksum that the recording's header holds.

    Raises
    ------
    DataError
        If the file is missing, or a byte changed since it was written.
    """
    if not known:
        return
    map_stimulus(path, known)
    if _sha256(stimulus_path(path)) != known["sha256"]:
        raise DataError(
            f"{stimulus_path(path)}: does not match its checksum; {AGAIN.format(path.name)}"
        )


def frames_between(
    stimulus: Stimulus, start_s: float, seconds: float, n_frames: int
) -> NDArray[np.float32]:
    """`n_frames` equal stretches of a window, each the mean of the features in it, (N, F).

    A frame lasts 1 / rate; one that straddles an edge counts by its share. What lies past the
    last frame (at most `FRAMES_SHORT` of them) repeats it.
    """
    values_NF, rate = stimulus.values_NF, stimulus.rate_hz
    edges = (start_s + seconds * np.arange(n_frames + 1) / n_frames) * rate
    first, last = int(np.floor(edges[0] + 1e-6)), int(np.ceil(edges[-1] - 1e-6))
    rows = np.clip(np.arange(first, max(last, first + 1)), 0, len(values_NF) - 1)
    part_NF = values_NF[rows].astype(np.float64)
    total = np.concatenate([np.zeros((1, part_NF.shape[1])), np.cumsum(part_NF, 0)])
    at = np.clip(edges - first, 0, len(rows))
    whole = np.minimum(np.floor(at + 1e-9).astype(int), len(rows) - 1)
    summed = total[whole] + (at - whole)[:, None] * part_NF[whole]
    return (np.diff(summed, axis=0) / np.diff(at)[:, None]).astype(np.float32)


def _refuse_misfit(name: str, s: Stimulus, duration_s: float, where: str) -> None:
    lasts = len(s.values_NF) / s.rate_hz
    # One second more is the tail of a sound file; more than that is another rate, or another file.
    if not duration_s - FRAMES_SHORT / s.rate_hz - 1e-6 <= lasts <= duration_s + 1 + 1e-6:
        raise DataError(
            f"{where}: stimulus '{name}' has {len(s.values_NF)} frames at {s.rate_hz:g} Hz, "
            f"{lasts:.2f} s, but the recording lasts {duration_s:.2f} s; give frames for all of "
            "it, and their true rate"
        )
    if not s.values_NF.shape[1] or not np.isfinite(s.values_NF).all():
        raise DataError(
            f"{where}: stimulus '{name}' has {s.values_NF.shape[1]} features, or some that are "
            "not finite; leave it out"
        )


def _sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
