"""`python -m brainfm codes`: a recording to a code file, and a code file to a signal.

Windows do not overlap, but for the last one, which ends where the recording ends. Each is
normalised as the codec's contract says and coded alone; its scale is kept beside its codes.

Shapes: N windows, C channels, T samples.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.codes import CodedPiece, CodedRecording, is_code_file, load_codes, save_codes
from brainfm.errors import ContractError, DataError
from brainfm.types import Recording

WINDOW_S = 10.0
TOGETHER = 8
"""Windows that are packed together: what a payload costs beside its codes is shared."""


def encode_recording(
    recording: Recording, codec: Any, window_s: float = WINDOW_S, half: bool = False
) -> CodedRecording:
    """Codes of a recording that is prepared as the codec's recipe says.

    Parameters
    ----------
    recording : Recording
    codec : Codec
    window_s : length of a window; rounded down to whole windows of the codec, or whole hops
    half : networks in bfloat16; faster, and some codes differ. Decoding needs not know

    Raises
    ------
    DataError
        If the recording is shorter than a code.
    """
    import torch

    from brainfm.data.collate import batch_from_arrays

    if not 0 < window_s < float("inf"):
        raise ContractError(f"window_s is {window_s}; give seconds, more than 0")
    sfreq, n = recording.sfreq, recording.signal.shape[0]
    length, starts = _windows(n, round(window_s * sfreq), codec.config)
    if length < 1:
        raise DataError(
            f"{recording.source or 'recording'}: {n} samples at {sfreq:g} Hz are fewer than a code "
            f"of this {type(codec).__name__} covers; give a longer one"
        )
    x_CT = recording.signal.T
    device = next(codec.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        codec = codec.frozen()
    pieces = []
    for i in range(0, len(starts), TOGETHER):
        some = starts[i : i + TOGETHER]
        x_NCT = np.stack([x_CT[:, s : s + length] for s in some])
        batch = batch_from_arrays(x_NCT, recording.channels, sfreq, codec.preprocess.normalise)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            payload = codec.pack(codec.encode(batch.to(device)), batch.to(device))
        pieces.append(
            CodedPiece(
                payload,
                np.array(some, np.int64),
                length,
                batch.valid_BC.numpy(),
                batch.scale_BC.numpy(),
                batch.offset_BC.numpy(),
            )
        )
    return CodedRecording(
        codec=type(codec).__name__,
        fingerprint=codec.fingerprint(),
        n_samples=n,
        sfreq=sfreq,
        channels=recording.channels,
        pieces=pieces,
        recipe=asdict(codec.preprocess.recipe),
        source=Path(recording.source).name,
        notes=list(recording.notes),
    )


def decode_recording(coded: CodedRecording, codec: Any) -> NDArray[np.float32]:
    """Signal (C, T) in SI units; 0 where a channel was flat or not finite in its window.

    The codec must be the one that wrote the codes (`CodedRecording.require`).
    """
    import torch

    from brainfm.data.collate import batch_from_arrays

    codec = codec.frozen()
    device = next(codec.parameters()).device
    x_CT = np.zeros((len(coded.channels), coded.n_samples), np.float32)
    for piece in coded.pieces:
        shape = (len(piece.start_N), len(coded.channels), piece.length)
        batch = batch_from_arrays(
            np.zeros(shape, np.float32), coded.channels, coded.sfreq, codec.preprocess.normalise
        )
        batch.valid_BC = torch.from_numpy(piece.valid_NC)
        batch = batch.to(device)
        with torch.inference_mode():
            y_NCT = codec.decode(codec.unpack(piece.payload, batch), batch).float().cpu().numpy()
        y_NCT = y_NCT * piece.scale_NC[..., None] + piece.offset_NC[..., None]
        y_NCT = np.where(piece.valid_NC[..., None], y_NCT, 0.0)
        for start, y_CT in zip(piece.start_N, y_NCT, strict=True):
            x_CT[:, start : start + y_CT.shape[1]] = y_CT
    return x_CT


def _windows(n: int, wanted: int, config: Any) -> tuple[int, list[int]]:
    """Samples of a window, and the first sample of each."""
    step = getattr(config, "window", None) or getattr(config, "hop", 1)
    length = max(step, wanted // step * step)
    if n < length:
        # Shorter than the codec's own window: it is filled with zeros.
        length = n // step * step or (n if n >= getattr(config, "hop", step) else 0)
    starts = list(range(0, n - length + 1, length)) if length else []
    if starts and starts[-1] + length < n:
        starts.append(n - length)
    return length, starts


def run(args: Any, say: Callable[[str], None]) -> int:
    """The command with its parsed arguments; `say` is given every line."""
    from brainfm.codecs.base import Codec
    from brainfm.hub import load_model
    from brainfm.training.memory import keep_freed_memory

    keep_freed_memory()
    codec = load_model(args.codec)
    if not isinstance(codec, Codec):
        raise ContractError(
            f"{args.codec}: holds a {type(codec).__name__}, which is no codec; give the export of "
            "a configs/codec/*.yaml"
        )
    result = _decode(args, codec, say) if args.decode else _encode(args, codec, say)
    if args.json:
        say(json.dumps(result))
    return 0


def _encode(args: Any, codec: Any, say: Callable[[str], None]) -> dict[str, Any]:
    if args.original:
        raise ContractError(
            f"--original {args.original} is compared with a decoded signal; give --decode OUT and "
            "a code file too"
        )
    if is_code_file(args.file):
        raise DataError(f"{args.file}: holds codes already; give --decode OUT for their signal")
    recording = _read(args.file, codec, args.line_freq)
    began = time.perf_counter()
    try:
        coded = encode_recording(recording, codec, args.window, args.half)
    except ContractError as e:
        raise ContractError(f"{args.file} with {args.codec}: {e}") from e
    took = time.perf_counter() - began
    out = save_codes(args.out or Path(args.file).name + ".codes", coded)
    size = out.stat().st_size
    rate, per_channel = coded.bits_per_second, coded.bits_per_second / len(coded.channels)
    say(
        f"{len(coded.channels)} channels, {coded.duration_s:.1f} s: {rate:.0f} bit/s, "
        f"{per_channel:.0f} a channel; {coded.duration_s / took:.0f} times real time"
    )
    for note in coded.notes:
        say(note)
    say(
        f"written to {out}: {size} bytes, {8 * size / coded.duration_s:.0f} bit/s with all it needs"
    )
    return {
        "out": str(out),
        "codec": coded.codec,
        "fingerprint": coded.fingerprint,
        "channels": len(coded.channels),
        "duration_s": coded.duration_s,
        "bits_per_second": rate,
        "bits_per_second_channel": per_channel,
        "file_bits_per_second": 8 * size / coded.duration_s,
        "times_real_time": coded.duration_s / took,
    }


def _decode(args: Any, codec: Any, say: Callable[[str], None]) -> dict[str, Any]:
    out = Path(args.decode)
    if out.suffix not in (".npy", ".fif"):
        raise DataError(f"{out}: signals are written as .npy or .fif; give one of these endings")
    coded = load_codes(args.file)
    coded.require(codec, str(args.file), str(args.codec))
    began = time.perf_counter()
    try:
        x_CT = decode_recording(coded, codec)
    except ContractError as e:
        raise ContractError(f"{args.file}: {e}") from e
    took = time.perf_counter() - began
    write = _write_npy if out.suffix == ".npy" else _write_fif
    write(out, x_CT, coded)
    result = {
        "out": str(out),
        "channels": len(coded.channels),
        "duration_s": coded.duration_s,
        "bits_per_second": coded.bits_per_second,
        "times_real_time": coded.duration_s / took,
    }
    say(
        f"{result['channels']} channels, {coded.duration_s:.1f} s at {coded.sfreq:g} Hz; "
        f"{result['times_real_time']:.0f} times real time"
    )
    if args.original:
        original = _read(args.original, codec, args.line_freq)
        result["nmse"] = _nmse(original, x_CT, coded, str(args.original))
        say(f"NMSE against {args.original}, median of channels: {result['nmse']:.4f}")
    say(f"written to {out}")
    return result


def _read(path: str, codec: Any, line_freq: float | None) -> Recording:
    from brainfm.signals.files.raw import read_raw
    from brainfm.signals.recording import recording_from_raw

    if line_freq is not None and not 0 < line_freq < float("inf"):
        raise ContractError(f"--line-freq is {line_freq:g}; give Hz, such as 50 or 60")
    raw, notes = read_raw(path)
    recording = recording_from_raw(
        raw, recipe=codec.preprocess.recipe, line_freq=line_freq, source=str(path)
    )
    recording.notes[:0] = notes
    return recording


def _nmse(
    original: Recording, x_CT: NDArray[np.float32], coded: CodedRecording, where: str
) -> float:
    """Median over channels of the squared error over the variance, where the channel moves."""
    if original.signal.shape[::-1] != x_CT.shape or original.channels.name != coded.channels.name:
        raise DataError(
            f"{where}: prepared, it has {original.signal.shape[::-1]} channels and samples, the "
            f"codes {x_CT.shape}; give the recording they were made of"
        )
    true_CT = original.signal.T.astype(np.float64)
    energy_C, error_C = true_CT.var(1), ((true_CT - x_CT) ** 2).mean(1)
    moves = energy_C > 0
    return float(np.median(error_C[moves] / energy_C[moves])) if moves.any() else float("nan")


def _write_npy(out: Path, x_CT: NDArray[np.float32], coded: CodedRecording) -> None:
    from brainfm.data.publish import publish

    with publish(out) as temporary, open(temporary, "wb") as f:
        np.save(f, x_CT, allow_pickle=False)


_MNE_TYPES = {0: "eeg", 1: "mag", 2: "grad", 3: "ecog", 4: "seeg", 6: "emg", 7: "ecg"}
"""MNE's name of each `Kind`; others are "misc"."""


def _write_fif(out: Path, x_CT: NDArray[np.float32], coded: CodedRecording) -> None:
    import mne

    if not out.name.endswith(("_raw.fif", "_eeg.fif", "_ieeg.fif", "_meg.fif")):
        raise DataError(f"{out}: MNE wants raw files to end in _raw.fif; name it so")
    types = [_MNE_TYPES.get(int(k), "misc") for k in coded.channels.kind]
    info = mne.create_info(list(coded.channels.name), coded.sfreq, types)
    raw = mne.io.RawArray(x_CT.astype(np.float64), info, verbose="ERROR")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        raw.save(out, overwrite=True, verbose="ERROR")
    except OSError as e:
        raise DataError(f"{out}: could not be written ({e}); check the disk and try again") from e
