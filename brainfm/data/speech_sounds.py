"""Made-up speech: sentences of a small lexicon, and mel bands that sound like their phonemes.

Words are drawn from a Markov chain, phonemes last as long and sound as a table of `Sounds` says,
neighbours run into each other, and every sentence has a speed and loudness of its own. All times
are exact, because the speech is made from them.

Shapes: P phonemes (39 and silence), N frames, F mel bands, V words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from brainfm.data.splits import split_of
from brainfm.errors import DataError
from brainfm.signals.phonemes import PHONEME, PHONEMES, SENTENCE, SILENCE, WORD, phoneme_id
from brainfm.types import Event

FRAMES_HZ = 100.0
WORDS_PER_SENTENCE = (4, 9)
PAUSE_S = (0.6, 1.4)
"""Between sentences."""
SHORT_PAUSE = (0.15, 0.08)
"""Share of word boundaries with a pause, and how long it lasts in seconds."""
LIKELY = 4.0
"""A word is followed by a few words often and by the others rarely: the weights of its followers
are exp(`LIKELY` x uniform)."""
WORDS = (
    *("about", "again", "animal", "answer", "between", "birthday", "bread", "brother", "careful"),
    *("chair", "children", "coffee", "cold", "dinner", "doctor", "early", "everything", "family"),
    *("father", "fish", "friend", "give", "good", "green", "happy", "help", "house", "hungry"),
    *("judge", "kitchen", "language", "letter", "light", "little", "measure", "money", "morning"),
    *("mother", "music", "never", "number", "open", "paper", "people", "question", "quiet"),
    *("river", "school", "sister", "sleep", "small", "song", "story", "table", "thirsty"),
    *("through", "toy", "village", "water", "window", "yellow"),
)
"""61 words, as many as Du-IN's patients read (arXiv 2405.11459); another language, other words."""

SMOOTH_FRAMES = 1.2
"""Deviation of the filter that lets neighbours run into each other: 12 ms."""

Lexicon = Mapping[str, Sequence[str]]
"""Word to its phonemes."""


@dataclass(frozen=True)
class Sounds:
    """How phonemes sound and how long they last.

    Attributes
    ----------
    mel_P3F : log mel bands at the beginning, middle and end, standardised over speech
    varies_PF : deviation from token to token
    log_s_P, log_spread_P : mean and deviation of the logarithm of the duration in seconds
    source : where the numbers come from, for the notes
    """

    mel_P3F: NDArray[np.floating]
    varies_PF: NDArray[np.floating]
    log_s_P: NDArray[np.floating]
    log_spread_P: NDArray[np.floating]
    source: str


class Phone(NamedTuple):
    """A phoneme as it is said once: its row in `Sounds`, how long, how loud."""

    phoneme: int
    frames: int
    level: float


@dataclass(frozen=True)
class Speech:
    """What is heard in one session.

    Attributes
    ----------
    mel_NF : log mel bands at `FRAMES_HZ`, standardised
    events : words, phonemes (silences too) and sentences
    source : what it is, for the notes
    """

    mel_NF: NDArray[np.float32]
    events: list[Event]
    source: str

    @property
    def seconds(self) -> float:
        return len(self.mel_NF) / FRAMES_HZ


def invented_sounds(seed: int = 0, n_bands: int = 40) -> Sounds:
    """Smooth random spectra, as different as those of phonemes; for tests without audio."""
    rng = np.random.default_rng([seed, 41])
    n = len(PHONEMES) + 1
    knots = rng.normal(0, 1, (n, 3, 8))
    at, grid = np.linspace(0, 7, n_bands), np.arange(8)
    mel = np.array([[np.interp(at, grid, row) for row in rows] for rows in knots])
    mel[:-1] += 0.4
    mel[-1] = -1.5
    last = np.log(rng.uniform(0.05, 0.13, n))
    return Sounds(mel, np.full((n, n_bands), 0.4), last, np.full(n, 0.25), "invented spectra")


def draw_sentences(
    rng: np.random.Generator, many: int, split: str, words: Sequence[str] = WORDS, seed: int = 0
) -> list[list[str]]:
    """Sentences of a split; no sentence is in two splits, because its own text decides.

    Parameters
    ----------
    rng : of the session
    split : "train", "val" or "test"
    seed : of the chain of words, the same in all sessions
    """
    chain = word_chain(words, seed)
    found: list[list[str]] = []
    while len(found) < many:
        word = len(words)
        sentence: list[str] = []
        for _ in range(int(rng.integers(*WORDS_PER_SENTENCE))):
            word = int(rng.choice(len(words), p=chain[word]))
            sentence.append(words[word])
        if split_of("simulated sentence: " + " ".join(sentence)) == split:
            found.append(sentence)
    return found


def word_chain(words: Sequence[str], seed: int) -> NDArray[np.float64]:
    """How likely words follow words, (V + 1, V); the last row begins a sentence."""
    rng = np.random.default_rng([seed, 43])
    weight = np.exp(LIKELY * rng.uniform(size=(len(words) + 1, len(words))))
    np.fill_diagonal(weight, 0)
    return np.asarray(weight / weight.sum(1, keepdims=True))


def speak(
    rng: np.random.Generator,
    sentences: Sequence[Sequence[str]],
    lexicon: Lexicon,
    sounds: Sounds,
) -> Speech:
    """Say sentences one after the other.

    Raises
    ------
    DataError
        If a word is not in the lexicon, or a phoneme of it unknown.
    """
    said: list[Phone] = []
    events: list[Event] = []
    frame = 0

    def say(symbol: str, frames: int, level: float = 0.0) -> None:
        nonlocal frame
        said.append(Phone(phoneme_id(symbol) - 1, frames, level))
        events.append(_event(frame, frame + frames, PHONEME + symbol))
        frame += frames

    def pause(seconds: float) -> None:
        say(SILENCE, round(seconds * FRAMES_HZ))

    pause(rng.uniform(*PAUSE_S))
    for sentence in sentences:
        pace, level = float(np.exp(rng.normal(0, 0.12))), float(rng.normal(0, 0.25))
        begin = frame
        for k, word in enumerate(sentence):
            if word not in lexicon:
                raise DataError(f"word '{word}' is not in the lexicon; add how it is pronounced")
            if k and rng.uniform() < SHORT_PAUSE[0]:
                pause(SHORT_PAUSE[1])
            onset = frame
            for symbol in lexicon[word]:
                p = phoneme_id(symbol) - 1
                seconds = pace * np.exp(rng.normal(sounds.log_s_P[p], sounds.log_spread_P[p]))
                say(symbol, int(np.clip(round(seconds * FRAMES_HZ), 3, 30)), level)
            events.append(_event(onset, frame, WORD + word))
        events.append(_event(begin, frame, SENTENCE + " ".join(sentence)))
        pause(rng.uniform(*PAUSE_S))
    return Speech(_sound(rng, said, sounds), sorted(events), f"made-up speech, {sounds.source}")


def _event(first: int, last: int, label: str) -> Event:
    return Event(first / FRAMES_HZ, (last - first) / FRAMES_HZ, label)


def _sound(rng: np.random.Generator, said: Sequence[Phone], sounds: Sounds) -> NDArray[np.float32]:
    """Mel bands of phonemes in a row, smoothed over the edges between them."""
    from scipy.ndimage import gaussian_filter, gaussian_filter1d

    pieces = []
    for p, frames, level in said:
        at = np.linspace(0, 2, frames)
        low = np.minimum(at.astype(int), 1)
        share = (at - low)[:, None]
        piece = (1 - share) * sounds.mel_P3F[p, low] + share * sounds.mel_P3F[p, low + 1]
        pieces.append(piece + level)
    mel = gaussian_filter1d(np.concatenate(pieces), SMOOTH_FRAMES, axis=0)
    # Tokens differ from the mean of their phoneme, smoothly in time and pitch.
    rough = gaussian_filter(rng.normal(size=mel.shape), (4, 3))
    which, lengths = [x.phoneme for x in said], [x.frames for x in said]
    mel += rough / rough.std() * np.repeat(sounds.varies_PF[which], lengths, axis=0)
    return np.asarray((mel - mel.mean(0)) / mel.std(0).clip(1e-6), np.float32)
