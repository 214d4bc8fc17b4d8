"""Made-up speech laid over simulated recordings, so that speech runs can be tried without data.

The words leave a trace: the loudness of the speech is added to every channel. Listeners with
receptive fields are simulated by `speech_patients`.

Shapes: N frames, F features.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from brainfm.data.speech_sounds import (
    FRAMES_HZ,
    WORDS,
    Lexicon,
    draw_sentences,
    invented_sounds,
    speak,
)
from brainfm.data.splits import split_of
from brainfm.signals.phonemes import PHONEMES
from brainfm.types import Recording, Stimulus

EMBEDDING_HZ, EMBEDDING = 12.5, 96
"""Rate and size of the stand-in for a speech embedding."""


def invented_lexicon() -> Lexicon:
    """Each of `WORDS` with two to five phonemes that are not its own."""
    n = len(PHONEMES)
    return {
        word: [PHONEMES[(7 * i + 5 * k) % n] for k in range(2 + i % 4)]
        for i, word in enumerate(WORDS)
    }


def with_speech(recording: Recording, seed: int = 0) -> Recording:
    """The recording with a transcript, and with "mel" and "speech_embedding" as stimulus."""
    rng = np.random.default_rng([seed, 71, *recording.subject.encode()])
    split = recording.split or split_of(recording.split_group)
    lexicon, sounds = invented_lexicon(), invented_sounds()
    # A sentence and its pause last 2.8 s on average; some more are cut off at the end.
    many = int(recording.duration_s / 2.2) + 6
    speech = speak(rng, draw_sentences(rng, many, split), lexicon, sounds)
    n = int(np.ceil(recording.duration_s * FRAMES_HZ))
    mel_NF = speech.mel_NF[:n]
    block = round(FRAMES_HZ / EMBEDDING_HZ)
    blocks = np.pad(mel_NF, ((0, -len(mel_NF) % block), (0, 0)), mode="edge")
    means_NF = blocks.reshape(-1, block, mel_NF.shape[1]).mean(1)
    random_FD = np.random.default_rng(73).normal(size=(mel_NF.shape[1], EMBEDDING))
    embedding_ND = (means_NF @ random_FD / np.sqrt(EMBEDDING)).astype(np.float32)
    seconds = np.arange(len(recording.signal)) / recording.sfreq
    loud_T = np.interp(seconds, np.arange(len(mel_NF)) / FRAMES_HZ, mel_NF.mean(1))
    size_C = recording.signal.std(0)
    return replace(
        recording,
        signal=(recording.signal + loud_T[:, None] * size_C).astype(np.float32),
        events=[e for e in speech.events if e.onset_s + e.duration_s <= recording.duration_s],
        stimulus={
            "mel": Stimulus(mel_NF, FRAMES_HZ),
            "speech_embedding": Stimulus(embedding_ND, EMBEDDING_HZ),
        },
    )
