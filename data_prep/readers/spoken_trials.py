"""Trials of speech laid end to end: each is an interval, and says what was spoken in it.

Shapes: T samples, C channels, L phonemes. Windows never cross a trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.transcript import transcript_of
from brainfm.errors import DataError
from brainfm.signals.filters import NO_HIGHPASS, resample_trial
from brainfm.signals.phonemes import PHONEME, SENTENCE, phoneme_symbol
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Event, Kind, Recording


@dataclass(frozen=True)
class SpokenTrial:
    """One trial.

    Attributes
    ----------
    x_TC : samples, in the unit of the channels
    events : onsets in s from the trial's first sample
    """

    x_TC: NDArray[np.floating]
    events: tuple[Event, ...] = ()


def end_to_end(
    trials: Sequence[SpokenTrial],
    *,
    sfreq: float,
    recipe: Recipe,
    channels: Channels,
    source: str,
    notes: Sequence[str],
    **identity: Any,
) -> Recording:
    """One recording of many trials, each resampled on its own.

    Parameters
    ----------
    sfreq : Hz of the trials
    identity : dataset, subject, session, name, split, split_group, line_freq

    Raises
    ------
    DataError
        If there is no trial, a trial has other channels or values that are not finite, or what
        was spoken does not fit it.
    """
    if not trials:
        raise DataError(f"{source}: holds no trial for '{identity.get('name', '')}'; leave it out")
    parts: list[NDArray[np.floating]] = []
    events: list[Event] = []
    spans: list[tuple[float, float]] = []
    at = 0
    for number, trial in enumerate(trials, 1):
        where = f"{source}: trial {number}"
        if trial.x_TC.ndim != 2 or trial.x_TC.shape[1] != len(channels) or len(trial.x_TC) < 2:
            raise DataError(
                f"{where} has shape {trial.x_TC.shape} for {len(channels)} channels; fetch it again"
            )
        if not np.isfinite(trial.x_TC).all():
            raise DataError(f"{where} holds values that are not finite; leave the session out")
        # A transcript of another trial is longer than this one.
        transcript_of(trial.events, len(trial.x_TC) / sfreq, where)
        part = resample_trial(trial.x_TC, sfreq, recipe.sfreq).astype(np.float32)
        start, stop = at / recipe.sfreq, (at + len(part)) / recipe.sfreq
        for e in trial.events:
            onset = min(start + e.onset_s, stop)
            events.append(Event(onset, max(min(e.duration_s, stop - onset), 0.0), e.label))
        spans.append((start, stop))
        parts.append(part)
        at += len(part)
    return Recording(
        signal=np.concatenate(parts),
        sfreq=recipe.sfreq,
        channels=channels,
        events=events,
        intervals_s=spans,
        source=source,
        notes=[
            f"{NO_HIGHPASS} (trials are too short for it), no notch and no low-pass beyond "
            "anti-aliasing",
            *notes,
        ],
        **identity,
    )


def sentence_events(text: str, ids_L: Sequence[int], seconds: float, where: str) -> list[Event]:
    """A sentence that fills its trial, and its phonemes spread evenly over it.

    Parameters
    ----------
    text : "" where it is held back
    ids_L : numbers of `brainfm.signals.phonemes`; their order is known, not their times
    seconds : of the trial
    where : for the sentence of a refusal

    Raises
    ------
    DataError
        If there are phonemes without a sentence, or a number that is no phoneme.
    """
    text = " ".join(text.split())
    if not text:
        if len(ids_L):
            raise DataError(f"{where}: has {len(ids_L)} phonemes but no sentence; fetch it again")
        return []
    events = [Event(0.0, seconds, f"{SENTENCE}{text}")]
    step = seconds / max(len(ids_L), 1)
    for i, number in enumerate(ids_L):
        try:
            symbol = phoneme_symbol(int(number))
        except DataError as e:
            raise DataError(f"{where}: phoneme {i + 1}: {e}") from e
        events.append(Event(i * step, step, f"{PHONEME}{symbol}"))
    return events


def unplaced(names: Sequence[str], kind: Kind, unit: str, reference: str = "unknown") -> Channels:
    """Channels of one kind without positions."""
    n = len(names)
    return Channels(
        tuple(names),
        np.full(n, int(kind), np.int8),
        np.full((n, 3), np.nan, np.float32),
        np.zeros((n, 3), np.float32),
        (unit,) * n,
        reference=reference,
    )
