"""What was said during a recording, read from its events and checked against its length.

Labels are `word:<text>`, `phoneme:<ARPAbet or SIL>` and `sentence:<text>`; texts are kept as
published. Other events are none of its business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.phonemes import PHONEME, SENTENCE, WORD, phoneme_id
from brainfm.types import Event

PAST_END_S = 0.1
"""A word may end so much later than the recording: annotations are rounded."""


@dataclass(frozen=True)
class Transcript:
    """Words, phonemes and sentences, each in order of onset; labels without their prefix."""

    words: tuple[Event, ...] = ()
    phonemes: tuple[Event, ...] = ()
    sentences: tuple[Event, ...] = ()

    def __len__(self) -> int:
        return len(self.words) + len(self.phonemes) + len(self.sentences)

    def words_within(self, start_s: float, stop_s: float) -> list[Event]:
        """Words whose middle lies in the stretch."""
        return [self.words[i] for i in _inside(self._word_middles, start_s, stop_s)]

    def phonemes_within(self, start_s: float, stop_s: float) -> list[Event]:
        """Phonemes whose middle lies in the stretch."""
        return [self.phonemes[i] for i in _inside(self._phoneme_middles, start_s, stop_s)]

    @cached_property
    def _word_middles(self) -> NDArray[np.float64]:
        return np.array([e.onset_s + e.duration_s / 2 for e in self.words])

    @cached_property
    def _phoneme_middles(self) -> NDArray[np.float64]:
        return np.array([e.onset_s + e.duration_s / 2 for e in self.phonemes])


def transcript_of(events: Sequence[Event], duration_s: float, where: str) -> Transcript:
    """The transcript among the events of a recording; empty if it has none.

    Parameters
    ----------
    events : of the recording, in the order in which they are listed
    duration_s : of the recording
    where : its file, for refusals

    Raises
    ------
    DataError
        If an event is no numbers and a text, a text is empty, a phoneme unknown, an onset before
        the one listed before it or before the recording, or an end past the recording's end.
    """
    parts = []
    for prefix in (WORD, PHONEME, SENTENCE):
        try:
            spoken = [
                Event(float(e.onset_s), float(e.duration_s), e.label[len(prefix) :].strip())
                for e in events
                if e.label.startswith(prefix)
            ]
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{where}: an event is no onset and duration in seconds with a text ({error}); "
                "correct it or leave it out"
            ) from error
        _check(prefix[:-1], spoken, duration_s, where)
        parts.append(tuple(spoken))
    return Transcript(*parts)


def _check(kind: str, spoken: Sequence[Event], duration_s: float, where: str) -> None:
    before = 0.0
    for number, e in enumerate(spoken, 1):
        if not e.label:
            raise DataError(
                f"{where}: {kind} {number} at {e.onset_s:.2f} s has no text; leave it out"
            )
        if not (e.onset_s >= before and e.duration_s >= 0):
            raise DataError(
                f"{where}: {kind} {number} ('{_short(e.label)}') begins at {e.onset_s:.2f} s and "
                f"lasts {e.duration_s:.2f} s, after one that begins at {before:.2f} s; put the "
                "transcript in order, onsets from the first sample on"
            )
        if e.onset_s + e.duration_s > duration_s + PAST_END_S:
            raise DataError(
                f"{where}: {kind} {number} ('{_short(e.label)}') ends at "
                f"{e.onset_s + e.duration_s:.2f} s, but the recording lasts {duration_s:.2f} s; "
                "the transcript belongs to another recording, or its times are no seconds"
            )
        if kind == PHONEME[:-1]:
            try:
                phoneme_id(e.label)
            except DataError as error:
                raise DataError(f"{where}: at {e.onset_s:.2f} s: {error}") from error
        before = e.onset_s


def _inside(middles: NDArray[np.float64], start_s: float, stop_s: float) -> NDArray[np.intp]:
    return np.flatnonzero((middles >= start_s) & (middles < stop_s))


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
