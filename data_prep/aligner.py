"""Where the phonemes of a known text lie in a sound, by forced alignment with pocketsphinx.

Its English model was trained on speech at 16 kHz; sounds are resampled to that. Times are whole
hundredths of a second and good to some of them: they are an estimate, not an annotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.speech_sounds import Lexicon
from brainfm.errors import DataError
from brainfm.signals.phonemes import SILENCE

SOUND_HZ = 16_000
FRAME_S = 0.01


@dataclass(frozen=True)
class Aligned:
    """A word and its phonemes: symbol, onset and duration in seconds."""

    text: str
    phonemes: list[tuple[str, float, float]]

    @property
    def onset_s(self) -> float:
        return self.phonemes[0][1]

    @property
    def end_s(self) -> float:
        return self.phonemes[-1][1] + self.phonemes[-1][2]


def align(
    sound_T: NDArray[np.floating], sfreq: float, text: str, lexicon: Lexicon, where: str
) -> list[Aligned]:
    """Words of the text with the times of their phonemes, in order.

    Parameters
    ----------
    sound_T : one channel
    sfreq : Hz
    text : words with spaces between them, all of which are heard
    lexicon : pronunciations of words that pocketsphinx does not know
    where : name of the sound, for refusals

    Raises
    ------
    DataError
        If pocketsphinx is missing, a word has no pronunciation, or the text cannot be found in the
        sound.
    """
    words = text.split()
    if not words:
        raise DataError(f"{where}: its transcript is empty; leave it out")
    decoder = _decoder(where)
    for word in dict.fromkeys(w.lower() for w in words):
        if decoder.lookup_word(word) is None:
            _add(decoder, word, _pronounced(word, lexicon, where))
    spoken = [w.lower() for w in words]
    # The second pass of pocketsphinx fails on texts that begin with a word of one phoneme ("I").
    first = 2 if len(spoken) > 1 and len(_pronounced(spoken[0], lexicon, where)) == 1 else 1
    joined = "_".join(spoken[:first])
    if first > 1:
        _add(decoder, joined, [p for w in spoken[:first] for p in _pronounced(w, lexicon, where)])
    sound = as_sound(sound_T, sfreq).tobytes()
    try:
        decoder.set_align_text(" ".join([joined, *spoken[first:]]))
        _hear(decoder, sound)
        # The second pass finds the phonemes inside the words of the first.
        decoder.set_alignment()
        _hear(decoder, sound)
        found = [
            [(p.name, p.start * FRAME_S, p.duration * FRAME_S) for p in word]
            for word in decoder.get_alignment()
            if word.name[0] not in "<[("
        ]
    except (RuntimeError, TypeError) as e:
        # What it raises where no path through the sound gives the text.
        raise DataError(
            f"{where}: pocketsphinx does not find its {len(words)} words in "
            f"{len(sound_T) / sfreq:.1f} s of sound ({e}); the transcript belongs to another sound"
        ) from e
    if first > 1 and found:
        one = len(_pronounced(spoken[0], lexicon, where))
        found[:1] = [found[0][:one], found[0][one:]]
    if len(found) != len(words) or not all(found):
        raise DataError(
            f"{where}: pocketsphinx finds {len(found)} of {len(words)} words; the transcript "
            "belongs to another sound"
        )
    return [
        Aligned(word, [(s, round(a, 4), round(d, 4)) for s, a, d in phonemes if s != SILENCE])
        for word, phonemes in zip(words, found, strict=True)
    ]


def _decoder(where: str) -> Any:
    try:
        from pocketsphinx import Decoder
    except ImportError as e:
        raise DataError(
            f"{where}: its words are aligned with pocketsphinx, which is not installed; "
            "pip install 'brainfm-decoding[speech]'"
        ) from e
    return Decoder(lm=None, loglevel="FATAL")


def _pronounced(word: str, lexicon: Lexicon, where: str) -> list[str]:
    if word not in lexicon:
        raise DataError(
            f"{where}: word '{word}' is in no dictionary; add how it is pronounced, or correct it"
        )
    return list(lexicon[word])


def _add(decoder: Any, word: str, symbols: list[str]) -> None:
    decoder.add_word(word, " ".join(symbols), True)


def _hear(decoder: Any, sound: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()


def as_sound(sound_T: NDArray[np.floating], sfreq: float) -> NDArray[np.int16]:
    """16-bit samples at `SOUND_HZ`, the loudest at nine tenths of full scale."""
    from scipy.signal import resample_poly

    ratio = Fraction(SOUND_HZ / sfreq).limit_denominator(10_000)
    sound = resample_poly(np.asarray(sound_T, float), ratio.numerator, ratio.denominator)
    loudest = np.abs(sound).max()
    return (sound / max(loudest, 1e-12) * 0.9 * 32767).astype("<i2")
