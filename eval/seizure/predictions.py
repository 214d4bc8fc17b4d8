"""What a detector said about one recording, beside what the annotator said: checked on entry.

Shapes: S steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.detect.alarms import AlarmRule, alarms
from brainfm.errors import DataError
from brainfm.types import Event
from eval.seizure.events import Span, spans_of


@dataclass(frozen=True, eq=False)
class Prediction:
    """Probabilities of one recording and its seizures.

    Attributes
    ----------
    recording, subject : names; patients are resampled and kept apart by `subject`
    duration_s : of the whole recording; seizure-free ones count in every "per hour"
    step_s : seconds a step covers
    time_S : seconds, end of each step; steps may be missing where there is a gap
    proba_S : 0 to 1; NaN where there was no signal
    seizures : inside the recording, none on top of another; empty: somebody looked, there is none
    simulated : then every caption says so

    Raises
    ------
    DataError
        If nobody annotated the recording (`seizures` is None), or numbers are out of range.
    """

    recording: str
    subject: str
    duration_s: float
    step_s: float
    time_S: NDArray[np.float64]
    proba_S: NDArray[np.float64]
    seizures: Sequence[Event] | None
    simulated: bool = False

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "time_S", np.asarray(self.time_S, np.float64).reshape(-1))
        set_(self, "proba_S", np.asarray(self.proba_S, np.float64).reshape(-1))
        name = self.recording
        if self.seizures is None:
            raise DataError(
                f"{name}: nobody annotated it; leave it out, or write 'bckg' over it if somebody "
                "looked and found no seizure"
            )
        if not (0 < self.duration_s < math.inf and 0 < self.step_s < math.inf):
            raise DataError(
                f"{name}: lasts {self.duration_s:g} s in steps of {self.step_s:g} s; "
                "both must be positive numbers"
            )
        if len(self.time_S) != len(self.proba_S):
            raise DataError(
                f"{name}: {len(self.proba_S)} probabilities for {len(self.time_S)} steps; "
                "give one each"
            )
        # A step that ends behind the recording by rounding is none of the detector's business.
        slack = 1e-6 * max(1.0, self.duration_s)
        outside = (self.time_S < self.step_s - slack) | (self.time_S > self.duration_s + slack)
        early = np.diff(self.time_S) < self.step_s - slack
        if not np.isfinite(self.time_S).all() or outside.any() or early.any():
            raise DataError(
                f"{name}: steps must lie in order inside its {self.duration_s:g} s, "
                f"{self.step_s:g} s or more apart; time_S is the end of each step"
            )
        wrong = (self.proba_S < 0) | (self.proba_S > 1)
        if wrong.any():
            raise DataError(
                f"{name}: probability {self.proba_S[wrong][0]:g} at "
                f"{self.time_S[wrong][0]:g} s lies outside 0 to 1; give probabilities, no logits"
            )

    @property
    def spans(self) -> list[Span]:
        """(start, end) of the seizures, seconds."""
        return spans_of(self.seizures or ())

    @property
    def label_S(self) -> NDArray[np.bool_]:
        """True for every step that shares time with a seizure (the rule of MVPFormer)."""
        label_S = np.zeros(len(self.time_S), bool)
        for start, end in self.spans:
            label_S |= (self.time_S > start + 1e-9) & (self.time_S - self.step_s < end - 1e-9)
        return label_S

    @property
    def known_S(self) -> NDArray[np.bool_]:
        """True where there was a signal to judge."""
        return np.isfinite(self.proba_S)

    def delay_s(self, rule: AlarmRule) -> float:
        """Seconds from an alarm's onset until it is given: whole steps that the threshold must
        be held for, and at least the first step, which is known at its end.
        """
        return self.step_s * max(1, math.ceil(rule.min_s / self.step_s - 1e-9))

    def alarms(self, rule: AlarmRule) -> list[Span]:
        """Alarms of the rule, which starts anew behind every gap."""
        gaps = np.flatnonzero(np.diff(self.time_S) > 1.5 * self.step_s) + 1
        out: list[Span] = []
        for time, proba in zip(
            np.split(self.time_S, gaps), np.split(self.proba_S, gaps), strict=True
        ):
            if len(time):
                start_s = float(time[0]) - self.step_s
                found = spans_of(alarms(proba, self.step_s, rule))
                out += [
                    (max(0.0, start_s + a), min(self.duration_s, start_s + b)) for a, b in found
                ]
        return out


def require_disjoint(test: Iterable[Prediction], validation: Iterable[Prediction]) -> None:
    """Refuse thresholds chosen on a patient who is tested.

    Raises
    ------
    DataError
        Naming the patient.
    """
    both = {p.subject for p in test} & {p.subject for p in validation}
    if both:
        raise DataError(
            f"patient '{min(both)}' is tested and is among those on whom thresholds are chosen; "
            "a threshold must come from other people: give each patient one split"
        )


def require_same_windows(predictions: Mapping[str, Sequence[Prediction]]) -> None:
    """Refuse a comparison in which two models judged different recordings or steps.

    Raises
    ------
    DataError
        Naming both models and the recording.
    """
    first, *others = predictions
    want = {p.recording: p for p in predictions[first]}
    if not want:
        raise DataError(f"'{first}' judged no recording; choose recordings that are annotated")
    for name in predictions:
        names = [p.recording for p in predictions[name]]
        for twice in sorted({n for n in names if names.count(n) > 1}):
            raise DataError(f"'{name}' judged {twice} twice; give every recording its own name")
    for name in others:
        have = {p.recording: p for p in predictions[name]}
        for recording in sorted(want.keys() ^ have.keys()):
            raise DataError(
                f"{recording}: judged by only one of '{first}' and '{name}'; "
                "models are compared on the same recordings"
            )
        for recording, a in want.items():
            b = have[recording]
            same = len(a.time_S) == len(b.time_S) and np.allclose(a.time_S, b.time_S, atol=1e-3)
            if not same or a.subject != b.subject or a.spans != b.spans:
                raise DataError(
                    f"{recording}: '{first}' ({len(a.time_S)} steps of {a.step_s:g} s) and "
                    f"'{name}' ({len(b.time_S)} of {b.step_s:g} s) did not judge the same "
                    "windows; score models of one step length together"
                )
