"""Seizures against alarms: event and sample scores of SzCORE, latency, and time in warning.

SzCORE (Dan et al., arXiv 2402.13005) is computed by the package `timescoring`: at 10 Hz, events
less than 90 s apart are merged, then those longer than 300 s split; a seizure is detected if an
alarm touches it, widened by 30 s before and 60 s after; an alarm that touches no detected
seizure is false. Spans are (start, end) in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainfm.errors import DataError
from brainfm.types import Event

Span = tuple[float, float]

BEFORE_S, AFTER_S = 30.0, 60.0
"""How far from a seizure an alarm still counts for it (timescoring's defaults)."""
MERGE_S, SPLIT_S = 90.0, 300.0
"""Events closer than this are one; events longer than this are several."""
FS = 10
"""Hz at which lists become masks."""


@dataclass(frozen=True)
class Score:
    """What `timescoring` found in one recording; NaN where a ratio has no denominator.

    Attributes
    ----------
    tp, fp : detected seizures and false alarms; of `score_samples`, seconds
    ref_true : seizures after merging and splitting; of `score_samples`, seconds
    fp_per_day : fp per 24 h of recording
    n_samples, fs : length of the masks and their rate
    ref, hyp : both lists after merging and splitting
    """

    tp: int
    fp: int
    ref_true: int
    sensitivity: float
    precision: float
    f1: float
    fp_per_day: float
    n_samples: int
    fs: int
    ref: tuple[Span, ...]
    hyp: tuple[Span, ...]


def score_events(
    seizures: Sequence[Span], alarms: Sequence[Span], duration_s: float, *, tolerant: bool = True
) -> Score:
    """Event score of one recording.

    Parameters
    ----------
    seizures, alarms : sorted by start
    duration_s : of the recording
    tolerant : False: an alarm must touch the seizure itself
    """
    from timescoring.scoring import EventScoring

    parameters = EventScoring.Parameters(
        BEFORE_S if tolerant else 0.0, AFTER_S if tolerant else 0.0, 0.0, SPLIT_S, MERGE_S
    )
    return _score(EventScoring(*_annotations(seizures, alarms, duration_s), parameters))


def score_samples(seizures: Sequence[Span], alarms: Sequence[Span], duration_s: float) -> Score:
    """Score second by second: no merging, no splitting, no tolerance."""
    from timescoring.scoring import SampleScoring

    return _score(SampleScoring(*_annotations(seizures, alarms, duration_s)))


def spans_of(events: Iterable[Event]) -> list[Span]:
    """(start, end) of events, sorted."""
    return sorted((e.onset_s, e.onset_s + e.duration_s) for e in events)


def merged(spans: Iterable[Span], gap_s: float = 0.0) -> list[Span]:
    """Sorted spans, those that overlap or lie less than `gap_s` apart made one."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and (start <= out[-1][1] or start - out[-1][1] < gap_s):
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def length_s(spans: Iterable[Span]) -> float:
    """Seconds covered by at least one span."""
    return float(sum(end - start for start, end in merged(spans)))


def latencies(
    seizures: Sequence[Span], alarms: Sequence[Span], delay_s: float = 0.0
) -> list[float]:
    """Seconds from the onset of each seizure until its first alarm is given; NaN: never.

    Seizures less than 90 s apart are one, as for the event score, but long ones are not split:
    a piece has no onset. An alarm that has been on since before the tolerance begins counts as
    given where it begins, so nothing is below -30 s.

    Parameters
    ----------
    delay_s : how long after its onset an alarm is known (`Prediction.delay_s`)
    """
    out = []
    for onset, end in merged(seizures, MERGE_S):
        opens, closes = onset - BEFORE_S, end + AFTER_S
        near = [a + delay_s for a, b in alarms if b > opens and a < closes]
        out.append(min((max(given, opens) for given in near), default=math.nan) - onset)
    return out


def _annotations(ref: Sequence[Span], hyp: Sequence[Span], duration_s: float) -> list[Any]:
    try:
        from timescoring.annotations import Annotation
    except ImportError as e:
        raise DataError(
            "seizures are scored by the package 'timescoring', which is not installed; "
            "run `pip install timescoring==0.0.7`"
        ) from e
    if not math.isfinite(duration_s) or duration_s <= 0:
        raise DataError(f"a recording cannot last {duration_s:g} s; correct its length")
    n_samples = round(duration_s * FS)
    return [Annotation(_checked(spans), FS, n_samples) for spans in (ref, hyp)]


def _checked(spans: Sequence[Span]) -> list[Span]:
    pairs = [(float(a), float(b)) for a, b in spans]
    for i, (start, end) in enumerate(pairs):
        if not (0 <= start <= end < math.inf):
            raise DataError(
                f"an event goes from {start:g} to {end:g} s; starts and ends must be numbers of "
                "seconds from the recording's first sample, in this order"
            )
        # The merge walks the list: out of order it would join events that lie far apart.
        if i and start < pairs[i - 1][0]:
            raise DataError(
                f"the event at {start:g} s comes after the one at {pairs[i - 1][0]:g} s; "
                "sort events by their start"
            )
    return pairs


def _score(done: Any) -> Score:
    return Score(
        *(int(v) for v in (done.tp, done.fp, done.refTrue)),
        *(float(v) for v in (done.sensitivity, done.precision, done.f1, done.fpRate)),
        int(done.numSamples),
        int(done.fs),
        tuple((float(a), float(b)) for a, b in done.ref.events),
        tuple((float(a), float(b)) for a, b in done.hyp.events),
    )


def ratios(tp: Any, fp: Any, ref_true: Any) -> tuple[Any, Any, Any]:
    """Sensitivity, precision and F1 of counts, arrays or numbers, as `timescoring` has them."""
    tp, fp, ref = (np.asarray(v, float) for v in (tp, fp, ref_true))
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = np.where(ref > 0, tp / ref, np.nan)
        precision = np.where(tp + fp > 0, tp / (tp + fp), np.nan)
        f1 = np.where(ref + fp > 0, 2 * tp / (tp + fp + ref), np.nan)
    return sensitivity, precision, f1
