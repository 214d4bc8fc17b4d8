"""How phonemes sound and how long they last, measured on the aligned audiobook.

Shapes: P phonemes (39 and silence), N frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from brainfm.data.speech_sounds import Sounds
from brainfm.errors import DataError
from brainfm.signals.mel import FRAMES_HZ, log_mel
from brainfm.signals.phonemes import FEATURES, PHONEME, PHONEMES, phoneme_id
from brainfm.types import Event
from data_prep.audiobook import SPLITS, events_of, read_alignment, read_chapters

FEWEST = 5
"""A phoneme heard less often takes the sound of those that are made like it."""
MANNERS = ("vowel", "plosive", "fricative", "affricate", "nasal", "approximant")


@lru_cache(maxsize=1)
def audiobook_sounds(demo: str, alignment: str) -> Sounds:
    """`Sounds` of the narrator of naplib's audiobook, from its training trials.

    Parameters
    ----------
    demo, alignment : files of `audiobook_files`
    """
    words = read_alignment(alignment)
    parts = []
    for chapter in (c for c in read_chapters(demo) if c.name not in SPLITS):
        mel_NF = log_mel(chapter.sound_T, chapter.sound_hz)
        parts.append((mel_NF, events_of(words[chapter.name], len(mel_NF) / FRAMES_HZ)))
    return measured_sounds(parts, "phonemes measured on naplib's audiobook")


def measured_sounds(
    parts: Iterable[tuple[NDArray[np.floating], list[Event]]], source: str
) -> Sounds:
    """Means of first, middle and last thirds over all tokens, and how tokens differ.

    Parameters
    ----------
    parts : log mel bands at `FRAMES_HZ` and the events, of each recording of speech

    Raises
    ------
    DataError
        If there is no phoneme, or neither a rare phoneme nor one made like it is heard often
        enough.
    """
    tokens: list[list[NDArray[np.floating]]] = [[] for _ in range(len(PHONEMES) + 1)]
    for mel_NF, events in parts:
        for e in events:
            if not e.label.startswith(PHONEME):
                continue
            first = round(e.onset_s * FRAMES_HZ)
            token = mel_NF[first : round((e.onset_s + e.duration_s) * FRAMES_HZ)]
            if len(token):
                tokens[phoneme_id(e.label.removeprefix(PHONEME)) - 1].append(token)
    for p, own in enumerate(tokens):
        tokens[p] = own if len(own) >= FEWEST else _like(p, tokens, source)
    thirds = [np.stack([_thirds(t) for t in own]) for own in tokens]
    seconds = [np.log([len(t) / FRAMES_HZ for t in own]) for own in tokens]
    return Sounds(
        np.stack([x.mean(0) for x in thirds]),
        np.stack([x.mean(1).std(0) for x in thirds]),
        np.array([s.mean() for s in seconds]),
        np.array([s.std() for s in seconds]),
        source,
    )


def _thirds(token_NF: NDArray[np.floating]) -> NDArray[np.floating]:
    n = len(token_NF)
    edges = (0, max(1, n // 3)), (n // 3, max(n // 3 + 1, n - n // 3)), (min(n - n // 3, n - 1), n)
    return np.stack([token_NF[a:b].mean(0) for a, b in edges])


def _like(
    p: int, tokens: list[list[NDArray[np.floating]]], source: str
) -> list[NDArray[np.floating]]:
    """Tokens of the phonemes of the same manner and voicing."""
    symbol = PHONEMES[p] if p < len(PHONEMES) else "SIL"
    voiced = FEATURES["voiced"]
    alike = [
        phoneme_id(other) - 1
        for manner in MANNERS
        for other in FEATURES[manner]
        if symbol in FEATURES[manner] and (other in voiced) == (symbol in voiced)
    ]
    found = [token for other in sorted(alike) for token in tokens[other]]
    if len(found) < FEWEST:
        raise DataError(
            f"{source}: phoneme {symbol} and those made like it are heard {len(found)} times, "
            f"fewer than {FEWEST}; give more speech"
        )
    return found
