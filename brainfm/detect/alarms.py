"""From a probability at every step to alarms: smooth, threshold, drop what is short, merge.

Shapes: S steps. Step i covers the seconds from i to i + 1 times `step_s`; its probability is
known at its end. Nothing looks ahead: later steps make an alarm longer or add one, and never
take back or move the onset of one that was given.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from brainfm.signals.szcore import SEIZURE
from brainfm.types import Event

NO_SIGNAL = "no_signal"
"""Label of a stretch about which nothing can be said: neither seizure nor none."""

EPS = 1e-9
"""Slack of comparisons, so that a mean of equal numbers reaches their own threshold."""


@dataclass(frozen=True)
class AlarmRule:
    """How probabilities become alarms.

    Raises
    ------
    ValueError
        If a number lies outside its range.
    """

    threshold: float = 0.5
    """The smoothed probability from which on a step is part of an alarm."""
    smooth_s: float = 10.0
    """Seconds of the trailing mean; 0 takes each step by itself."""
    min_s: float = 5.0
    """An alarm is given when the threshold was held for so long."""
    merge_s: float = 30.0
    """Alarms closer than this are one."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}; a probability lies in 0 to 1")
        for f in fields(self)[1:]:
            value = getattr(self, f.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{f.name} is {value}; give seconds, 0 or more")


def smooth(proba_S: ArrayLike, step_s: float, smooth_s: float) -> NDArray[np.float64]:
    """Trailing mean over `smooth_s` seconds of the steps that have a probability.

    NaN steps have no part in the mean of others and stay NaN.
    """
    p_S = np.asarray(proba_S, np.float64).reshape(-1)
    n = _smoothed_steps(step_s, smooth_s)
    known_S = np.isfinite(p_S)
    padded = np.zeros((2, n - 1 + len(p_S)))
    padded[:, n - 1 :] = np.where(known_S, p_S, 0.0), known_S
    total_S, count_S = np.lib.stride_tricks.sliding_window_view(padded, n, axis=1).sum(-1)
    return np.where(known_S, total_S / np.maximum(count_S, 1), np.nan)


def alarms(proba_S: ArrayLike, step_s: float, rule: AlarmRule | None = None) -> list[Event]:
    """Events "sz" of a recording, in order.

    Parameters
    ----------
    proba_S : probability of seizure at each step; NaN where there was no signal, which is no
        alarm (a gap shorter than `merge_s` inside an alarm does not part it)
    step_s : seconds of a step
    rule : default `AlarmRule()`
    """
    rule = rule or AlarmRule()
    if not step_s > 0:
        raise ValueError(f"step_s is {step_s}; a step lasts more than 0 s")
    if np.size(proba_S) == 0:
        return []
    with np.errstate(invalid="ignore"):
        high_S = smooth(proba_S, step_s, rule.smooth_s) >= rule.threshold - EPS
    merged: list[tuple[int, int]] = []
    for a, b in runs(high_S):
        if (b - a) * step_s < rule.min_s - EPS:
            continue
        if merged and (a - merged[-1][1]) * step_s < rule.merge_s - EPS:
            merged[-1] = (merged[-1][0], b)
        else:
            merged.append((a, b))
    return [Event(a * step_s, (b - a) * step_s, SEIZURE) for a, b in merged]


class Watch:
    """`alarms` of a recording that is followed, in constant time and memory a step.

    Parameters
    ----------
    step_s : seconds of a step
    rule : how probabilities become alarms
    """

    def __init__(self, step_s: float, rule: AlarmRule) -> None:
        self.step_s, self.rule = step_s, rule
        self._recent: deque[float] = deque(maxlen=_smoothed_steps(step_s, rule.smooth_s))
        self._step = 0
        self._run_from: int | None = None
        self._alarm_to = -math.inf

    def push(self, proba: float) -> float | None:
        """The onset, in seconds, of the alarm that the next step gives; None: it gives none."""
        self._recent.append(proba)
        known = [p for p in self._recent if math.isfinite(p)]
        step, self._step = self._step, self._step + 1
        high = math.isfinite(proba) and sum(known) / len(known) >= self.rule.threshold - EPS
        if not high:
            self._run_from = None
            return None
        self._run_from = first = step if self._run_from is None else self._run_from
        if (self._step - first) * self.step_s < self.rule.min_s - EPS:
            return None
        # Of a run that goes on, and of one that is merged, it was told before.
        new = (first - self._alarm_to) * self.step_s >= self.rule.merge_s - EPS
        self._alarm_to = self._step
        return first * self.step_s if new else None


def no_signal(proba_S: ArrayLike, step_s: float) -> list[Event]:
    """Events "no_signal": stretches of steps without a probability."""
    missing_S = ~np.isfinite(np.asarray(proba_S, np.float64).reshape(-1))
    return [Event(a * step_s, (b - a) * step_s, NO_SIGNAL) for a, b in runs(missing_S)]


def _smoothed_steps(step_s: float, smooth_s: float) -> int:
    return max(1, round(smooth_s / step_s))


def runs(flag_S: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, one past last) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flag_S, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
