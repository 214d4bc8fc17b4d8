"""Features of a sound from the encoder of Whisper tiny.en, where its weights are on this machine.

Radford et al., arXiv 2212.04356. Weights are those of transformers (a folder with config.json and
model.safetensors): the folder that `BRAINFM_WHISPER` names, else transformers' own cache. Nothing
is ever downloaded. Files of the `openai-whisper` package (.pt) are pickles and are not read.

Shapes: T samples, N frames, F features.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from data_prep.aligner import SOUND_HZ, as_sound

NAME = "whisper"
REPOSITORY = "openai/whisper-tiny.en"
FOLDER = "BRAINFM_WHISPER"
"""Variable of the environment that names another folder."""
FILES = ("config.json", "model.safetensors")
FEATURES_HZ = 50.0
CHUNK_S, EDGE_S = 30.0, 5.0
"""The encoder hears so much at once; of what it says this much at inner edges is left out, because
there it heard one side alone."""


def whisper_files() -> tuple[str, ...]:
    """Configuration and weights; empty where there are none and none were named.

    Raises
    ------
    DataError
        If the folder that was named lacks one of them.
    """
    named = os.environ.get(FOLDER)
    if named:
        paths = [Path(named) / name for name in FILES]
        for path in paths:
            if not path.is_file():
                raise DataError(
                    f"{path}: no such file, though {FOLDER} names its folder; save the weights "
                    f"there (transformers, {REPOSITORY}, save_pretrained), or unset {FOLDER}"
                )
        return tuple(map(str, paths))
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return ()
    cached = [try_to_load_from_cache(REPOSITORY, name) for name in FILES]
    # A file that is known not to exist comes as a marker, one that was never asked for as None.
    return tuple(str(c) for c in cached) if all(isinstance(c, str) for c in cached) else ()


def whisper_features(
    sound_T: NDArray[np.floating], sfreq: float, files: tuple[str, ...]
) -> NDArray[np.float32]:
    """Last states of the encoder, one row for every 20 ms of the sound, (N, F).

    Parameters
    ----------
    files : of `whisper_files`

    Raises
    ------
    DataError
        If there are no weights, or they are damaged or of another model.
    """
    if not files:
        raise DataError(
            f"{REPOSITORY}: its weights are not on this machine; set {FOLDER} to a folder with "
            f"{' and '.join(FILES)}"
        )
    encoder, extractor = _encoder(files[0], files[1])
    sound = as_sound(sound_T, sfreq).astype(np.float32) / 32768
    n = int(np.ceil(len(sound) / SOUND_HZ * FEATURES_HZ - 1e-6))
    size, edge = round(CHUNK_S * FEATURES_HZ), round(EDGE_S * FEATURES_HZ)
    rows: list[NDArray[np.float32]] = []
    first = 0
    while True:
        last = first + size >= n
        keep = slice(edge if first else 0, min(size, n - first) if last else size - edge)
        a = round(first / FEATURES_HZ * SOUND_HZ)
        part = sound[a : a + round(CHUNK_S * SOUND_HZ)]
        rows.append(_states(encoder, extractor, part)[keep])
        if last:
            return np.concatenate(rows)
        first += size - 2 * edge


def _states(encoder: Any, extractor: Any, sound: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    heard = extractor(sound, sampling_rate=SOUND_HZ, return_tensors="pt")["input_features"]
    with torch.no_grad():
        states: NDArray[np.float32] = encoder(heard).last_hidden_state[0].float().numpy()
    return states


@lru_cache(maxsize=1)
def _encoder(config: str, weights: str) -> tuple[Any, Any]:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    folder = Path(weights).parent
    try:
        sizes = WhisperConfig.from_json_file(config)
        model = WhisperModel.from_pretrained(
            folder, config=sizes, local_files_only=True, use_safetensors=True
        )
    except Exception as e:
        # safetensors raises a class of its own that derives from Exception alone.
        raise DataError(
            f"{folder}: holds no Whisper that can be read ({type(e).__name__}: {e}); save it again "
            "with transformers"
        ) from e
    extractor = WhisperFeatureExtractor(feature_size=sizes.num_mel_bins)
    return model.get_encoder().eval(), extractor
