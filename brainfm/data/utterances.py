"""Which stretches of speech are windows: around words, whole sentences, or fixed segments.

A window and the speech that is its target are computed from the transcript and `SpeechTargets`
alone, so plans, batches and scores mean the same by one `WindowRef`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainfm.data.store import Store
from brainfm.data.transcript import Transcript
from brainfm.errors import DataError
from brainfm.signals.spelling import normalise
from brainfm.types import WindowRef

UNITS = ("word", "sentence", "segment")


@dataclass(frozen=True)
class SpeechTargets:
    """Which stretches of speech are windows, and what a batch carries of them."""

    unit: str = "word"
    """"word": around each onset. "sentence": each whole. "segment": fixed stretches, one after the
    other, at least half of each inside a sentence."""
    start_s: float = 0.0
    """Where a window begins, after the onset of its word, sentence or segment; may be negative.
    Brains answer some 100 ms late."""
    stop_s: float = 1.0
    """Where it ends: of a word, after its onset; of a sentence, after its end."""
    segment_s: float = 3.0
    """Length of a segment (3 s: Defossez et al., 2023; recalled)."""
    stride_s: float | None = None
    """From segment to segment. None: one begins where the last ended."""
    round_s: float = 1.0
    """Windows of sentences are rounded up to whole multiples, so that they share batches."""
    longest_s: float = 20.0
    """Sentences whose window would be longer are left out and counted."""
    vocabulary: list[str] | int | None = None
    """Classes of `target_B`, for words: a list, or so many of the most frequent words of TRAIN.
    Windows of other words are left out and counted. None: no classes."""
    phonemes: bool = False
    """Batches carry `sequence_BL`: the phonemes of the word or sentence, or those whose middle lies
    in the segment."""
    silence: bool = False
    """Silences of the transcript are symbols too (SIL)."""
    stimulus: str | None = None
    """Name of the features that `stimulus_BNF` carries."""
    frames_hz: float | None = None
    """Frames a second of it, each the mean of those stored. None: the rate stored."""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit is '{self.unit}'; it must be one of {', '.join(UNITS)}")
        if self.unit == "word" and self.stop_s <= self.start_s:
            raise ValueError(
                f"a word's window from {self.start_s:g} to {self.stop_s:g} s is empty; raise stop_s"
            )
        if not (np.isfinite(self.start_s) and np.isfinite(self.stop_s)):
            raise ValueError(
                f"start_s is {self.start_s} and stop_s {self.stop_s}; give seconds, such as 0 and 1"
            )
        if isinstance(self.vocabulary, int) and self.vocabulary < 1:
            raise ValueError(
                f"vocabulary is {self.vocabulary}; give a number of words from 1, or a list"
            )
        for name in ("segment_s", "stride_s", "round_s", "longest_s", "frames_hz"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; it must be positive")
        if self.vocabulary is not None and self.unit != "word":
            raise ValueError(f"a {self.unit} has no class; vocabulary needs unit 'word'")
        if isinstance(self.vocabulary, list):
            _refuse_bad_words(self.vocabulary)


@dataclass(frozen=True)
class Utterance:
    """What one window is about.

    Attributes
    ----------
    ref : the window
    start_s, stop_s : the stretch of the recording whose speech is its target
    text : the word or sentence as published; of a segment, the words whose middle lies in it
    """

    ref: WindowRef
    start_s: float
    stop_s: float
    text: str


def transcript(store: Store, row: int) -> Transcript:
    """The transcript of a recording."""
    return store.transcript(row)


def utterances(
    store: Store,
    row: int,
    targets: SpeechTargets,
    patch: int | None = None,
    said: Transcript | None = None,
    dropped: Counter[str] | None = None,
) -> list[Utterance]:
    """Every window of one recording, in order, before vocabulary and splits are looked at.

    Parameters
    ----------
    patch : samples in a step of the model; windows hold whole steps
    said : its transcript, if it was read before
    dropped : is told how many windows were left out for which reason

    Raises
    ------
    DataError
        If segments are shorter than a step of the model, or less than a sample apart.
    """
    said = said if said is not None else transcript(store, row)
    dropped = Counter() if dropped is None else dropped
    sfreq, step = store.recipe.sfreq, patch or 1
    if targets.unit == "segment":
        _refuse_tiny(targets, step / sfreq, 1 / sfreq)
    inside = store.intervals(row)
    found: dict[WindowRef, Utterance] = {}
    for text, onset, end, seconds in _stretches(said, targets):
        if targets.unit == "sentence" and seconds > targets.longest_s:
            dropped["sentence too long"] += 1
            continue
        start = round((onset + targets.start_s) * sfreq)
        steps = seconds * sfreq / step
        # A sentence is not cut short for the sake of whole steps.
        whole = np.ceil(steps - 1e-6) if targets.unit == "sentence" else np.floor(steps + 1e-6)
        ref = WindowRef(row, start, int(whole) * step)
        fits = (inside[:, 0] <= start) & (start + ref.length <= inside[:, 1])
        if ref.length <= 0:
            dropped["window without a step"] += 1
        elif not fits.any():
            dropped["past the edge of the recording"] += 1
        elif targets.unit == "segment":
            onset, end = start / sfreq, (start + ref.length) / sfreq
            words = " ".join(word.label for word in said.words_within(onset, end))
            found.setdefault(ref, Utterance(ref, onset, end, words))
        else:
            found.setdefault(ref, Utterance(ref, onset, end, text))
    return list(found.values())


def _stretches(said: Transcript, targets: SpeechTargets) -> list[tuple[str, float, float, float]]:
    """Text, onset, end and window length in seconds of every word, sentence or segment."""
    extra = targets.stop_s - targets.start_s
    if targets.unit == "word":
        return [(e.label, e.onset_s, e.onset_s + e.duration_s, extra) for e in said.words]
    found: list[tuple[str, float, float, float]] = []
    if targets.unit == "sentence":
        for e in said.sentences:
            rounded = float(np.ceil((e.duration_s + extra) / targets.round_s - 1e-9))
            end = e.onset_s + e.duration_s
            found.append((e.label, e.onset_s, end, rounded * targets.round_s))
        return found
    length, stride = targets.segment_s, targets.stride_s or targets.segment_s
    for e in said.sentences:
        onset = max(e.onset_s, found[-1][1] + stride) if found else e.onset_s
        while onset + length / 2 <= e.onset_s + e.duration_s:
            found.append(("", onset, onset + length, length))
            onset += stride
    return found


def _refuse_tiny(targets: SpeechTargets, step_s: float, sample_s: float) -> None:
    for name, least in (("segment_s", step_s), ("stride_s", sample_s)):
        value = getattr(targets, name)
        if value is not None and value < least - 1e-9:
            raise DataError(
                f"{name} is {value:g}, less than {least:g} s, which is a step of the model or a "
                f"sample of the store; raise {name}"
            )


def _refuse_bad_words(words: Sequence[str]) -> None:
    plains = [normalise(word) for word in words]
    odd = [word for word, plain in zip(words, plains, strict=True) if not plain or " " in plain]
    if odd or not plains:
        raise ValueError(f"the vocabulary is empty or holds an entry that is no word: {odd}")
    twice = sorted({w for w in plains if plains.count(w) > 1})
    if twice:
        raise ValueError(f"the vocabulary holds '{twice[0]}' twice; a class has one word")
