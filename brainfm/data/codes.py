"""Code files: a recording as the codes of one codec, and what brings it back to SI units.

A safetensors file, so that nothing is unpickled. Its arrays: `payload` (bytes of `Codec.pack`, one
piece after the other), and beside it, deflated, which samples each piece covers and how its windows
were normalised. Its metadata: rate, channels, and the fingerprint of the codec that wrote it.

Shapes: N windows, C channels.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.publish import publish, table_of
from brainfm.errors import ContractError, DataError
from brainfm.types import Channels

FORMAT = "brainfm codes 1"
AGAIN = "copy it again, or encode the recording again"
_SHOWN = 12
"""Letters of a fingerprint in a sentence."""


@dataclass
class CodedPiece:
    """Consecutive windows of one length, packed together.

    Attributes
    ----------
    payload : what `Codec.pack` gave
    start_N : first sample of each window in the recording
    length : samples of a window
    valid_NC, scale_NC, offset_NC : as in the batch that was encoded; SI = value * scale + offset
    """

    payload: bytes
    start_N: NDArray[np.int64]
    length: int
    valid_NC: NDArray[np.bool_]
    scale_NC: NDArray[np.float32]
    offset_NC: NDArray[np.float32]


@dataclass
class CodedRecording:
    """A recording in codes.

    Attributes
    ----------
    codec : class of the codec
    fingerprint : `Codec.fingerprint` of the one that wrote the codes
    n_samples, sfreq : of the prepared recording
    channels : that the codec saw
    pieces : in time; where windows overlap, the later one counts
    recipe : what was done to the recording before, as `Recipe` has it
    source : name of the recording's file
    notes : what was changed on the way, one sentence each
    """

    codec: str
    fingerprint: str
    n_samples: int
    sfreq: float
    channels: Channels
    pieces: list[CodedPiece]
    recipe: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sfreq

    @property
    def bits_per_second(self) -> float:
        """Of the payload, all channels together."""
        return 8 * sum(len(p.payload) for p in self.pieces) / self.duration_s

    def require(self, codec: Any, where: str, folder: str) -> None:
        """Refuse a codec that did not write these codes.

        Parameters
        ----------
        codec : Codec
        where, folder : of the codes and of the codec, for the sentence

        Raises
        ------
        ContractError
            If the fingerprints differ.
        """
        mine = codec.fingerprint()
        if mine != self.fingerprint:
            raise ContractError(
                f"{where}: codes of the {self.codec} {self.fingerprint[:_SHOWN]}, but {folder} "
                f"holds the {type(codec).__name__} {mine[:_SHOWN]}; give the folder of the codec "
                "that wrote them, or encode the recording again with this one"
            )


def save_codes(path: str | Path, coded: CodedRecording) -> Path:
    """Write a code file; it appears whole or not at all.

    Raises
    ------
    DataError
        If the disk refuses.
    """
    from safetensors.numpy import save_file

    pieces, c = coded.pieces, coded.channels
    counts = [len(p.start_N) for p in pieces]
    arrays: dict[str, NDArray[Any]] = {
        "payload": np.frombuffer(b"".join(p.payload for p in pieces), np.uint8),
        **{key: _deflated([getattr(p, key) for p in pieces]) for key in _BESIDE},
        "pos_m": np.ascontiguousarray(c.pos_m),
        "ori": np.ascontiguousarray(c.ori),
        "kind": np.ascontiguousarray(c.kind),
    }
    header = {
        "codec": coded.codec,
        "fingerprint": coded.fingerprint,
        "n_samples": coded.n_samples,
        "sfreq": coded.sfreq,
        "windows": counts,
        "lengths": [p.length for p in pieces],
        "payloads": [len(p.payload) for p in pieces],
        "names": list(c.name),
        "units": list(c.unit),
        "frame": c.frame,
        "reference": c.reference,
        "recipe": coded.recipe,
        "source": coded.source,
        "notes": coded.notes,
    }
    text = json.dumps(header, separators=(",", ":"))
    metadata = {"format": FORMAT, "header": text, "sha256": _digest(text, arrays)}
    path = Path(path)
    with publish(path) as temporary:
        save_file(arrays, str(temporary), metadata=metadata)
    return path


def is_code_file(path: str | Path) -> bool:
    """Whether a file begins as one that `save_codes` wrote, of whichever version."""
    try:
        metadata = table_of(Path(path))[0].get("__metadata__", {})
    except DataError:
        return False
    return str(metadata.get("format", "")).startswith(FORMAT.rstrip("0123456789"))


def load_codes(path: str | Path) -> CodedRecording:
    """Read a code file.

    Raises
    ------
    DataError
        If it is missing, damaged, cut off, of another version, or something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DataError(
            f"{path}: {what}; give a code file, which `python -m brainfm codes RECORDING` writes"
        )
    try:
        with safe_open(str(path), "numpy") as f:
            metadata = f.metadata() or {}
            arrays = {key: f.get_tensor(key) for key in f.keys()}
    except (SafetensorError, OSError, ValueError) as e:
        raise DataError(f"{path}: damaged, cut off, or no code file ({e}); {AGAIN}") from e
    version = metadata.get("format", "none")
    if version != FORMAT:
        raise DataError(
            f"{path}: its format is '{version}', this program reads '{FORMAT}'; encode the "
            "recording again"
        )
    text = metadata.get("header", "")
    if metadata.get("sha256") != _digest(text, arrays):
        raise DataError(f"{path}: its content does not have its checksum; {AGAIN}")
    try:
        return _coded(json.loads(text), arrays)
    except (KeyError, TypeError, ValueError, zlib.error) as e:
        raise DataError(f"{path}: its parts do not fit each other ({e}); {AGAIN}") from e


def _coded(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> CodedRecording:
    names = header["names"]
    counts, n_channels = header["windows"], len(names)
    payload = arrays["payload"].tobytes()
    ends = np.cumsum([0, *header["payloads"]])
    if ends[-1] != len(payload):
        raise ValueError(f"payload of {len(payload)} bytes instead of {ends[-1]}")
    beside = {
        key: _inflated(arrays[key], dtype, counts, n_channels if wide else 0)
        for key, (dtype, wide) in _BESIDE.items()
    }
    pieces = [
        CodedPiece(
            payload=payload[ends[i] : ends[i + 1]],
            length=int(header["lengths"][i]),
            **{key: parts[i] for key, parts in beside.items()},
        )
        for i in range(len(counts))
    ]
    channels = Channels(
        tuple(names),
        arrays["kind"],
        arrays["pos_m"],
        arrays["ori"],
        tuple(header["units"]),
        header["frame"],
        header["reference"],
    )
    return CodedRecording(
        codec=str(header["codec"]),
        fingerprint=str(header["fingerprint"]),
        n_samples=int(header["n_samples"]),
        sfreq=float(header["sfreq"]),
        channels=channels,
        pieces=pieces,
        recipe=dict(header["recipe"]),
        source=str(header["source"]),
        notes=list(header["notes"]),
    )


_BESIDE: dict[str, tuple[str, bool]] = {
    "start_N": ("<i8", False),
    "valid_NC": ("?", True),
    "scale_NC": ("<f4", True),
    "offset_NC": ("<f4", True),
}
"""Arrays of a piece: type, and whether they have a column a channel."""


def _deflated(parts: list[NDArray[Any]]) -> NDArray[np.uint8]:
    raw = b"".join(np.ascontiguousarray(p).tobytes() for p in parts)
    return np.frombuffer(zlib.compress(raw, 9), np.uint8)


def _inflated(
    content: NDArray[np.uint8], dtype: str, counts: list[int], columns: int
) -> list[NDArray[Any]]:
    flat = np.frombuffer(zlib.decompress(content.tobytes()), dtype)
    shaped = flat.reshape(sum(counts), columns) if columns else flat.reshape(sum(counts))
    return [part.copy() for part in np.split(shaped, np.cumsum(counts)[:-1])]


def _digest(text: str, arrays: dict[str, NDArray[Any]]) -> str:
    h = hashlib.sha256(text.encode())
    for key in sorted(arrays):
        h.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        h.update(np.ascontiguousarray(arrays[key]).tobytes())
    return h.hexdigest()
