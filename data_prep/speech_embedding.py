"""Speech embeddings of a sound: 96 numbers every 80 ms from the networks inside `openwakeword`.

A mel network and Google's `speech_embedding` (Lin et al., arXiv 2002.01322) as ONNX files. Rules
of the package's `utils.py`: 16-bit sound at 16 kHz, mel / 10 + 2, windows of 76 frames of 10 ms in
steps of 8.

Shapes: T samples, N frames, F features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from data_prep.aligner import SOUND_HZ, as_sound
from data_prep.dataset import Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.packages import OPENWAKEWORD, OPENWAKEWORD_FOLDER

NAME = "speech_embedding"
NETWORKS = ("melspectrogram.onnx", "embedding_model.onnx")
WINDOW, STEP, BANDS = 76, 8, 32
EMBEDDING_HZ = 12.5
LOOKS_BACK_S = 0.16
"""The network says most of what lies so much after the middle of its window: there, loudness of
naplib's audiobook is read from it best (correlation .88, at the middle .84)."""
BEFORE_S = (WINDOW - STEP) / 200 + LOOKS_BACK_S
"""Put before the sound, so that a row is about its own 80 ms."""


def fetch_networks(root: Path, say: Progress) -> None:
    """Unpack the two networks."""
    members = {f"{OPENWAKEWORD_FOLDER}/{name}": name for name in NETWORKS}
    unpack(OPENWAKEWORD, members, root, say)


def network_files(root: Path) -> tuple[str, ...] | None:
    """Paths of the networks; None before `fetch_networks`."""
    if not unpacked(OPENWAKEWORD, list(NETWORKS), root):
        return None
    return tuple(str(source_folder(OPENWAKEWORD, root) / name) for name in NETWORKS)


def speech_embedding(
    sound_T: NDArray[np.floating], sfreq: float, networks: tuple[str, str]
) -> NDArray[np.float32]:
    """One row for every 80 ms of the sound, (N, 96); each hears 760 ms around them.

    Raises
    ------
    DataError
        If onnxruntime is missing, or a network is damaged.
    """
    mel_of, embedding_of = (_session(path) for path in networks)
    sound = as_sound(sound_T, sfreq)
    n_frames = int(np.ceil(len(sound) / SOUND_HZ * EMBEDDING_HZ - 1e-6))
    # The mel network loses some frames at the edges; silence behind makes up for them.
    padded = np.pad(sound, (round(BEFORE_S * SOUND_HZ), SOUND_HZ)).astype(np.float32)
    mel_NF = np.squeeze(mel_of.run(None, {"input": padded[None]})[0]) / 10 + 2
    rows = []
    for first in range(0, n_frames, 256):
        starts = STEP * np.arange(first, min(first + 256, n_frames))
        windows = mel_NF[starts[:, None] + np.arange(WINDOW)][..., None].astype(np.float32)
        rows.append(embedding_of.run(None, {"input_1": windows})[0].reshape(len(starts), -1))
    return np.concatenate(rows)


def _session(path: str) -> Any:
    try:
        import onnxruntime
    except ImportError as e:
        raise DataError(
            f"{path}: is a network for onnxruntime, which is not installed; "
            "pip install 'brainfm-decoding[speech]'"
        ) from e
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as e:
        # onnxruntime raises classes of its own that it does not export.
        raise DataError(f"{path}: cannot be loaded ({e}); delete it and fetch again") from e
