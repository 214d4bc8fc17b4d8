"""From samples as they come to a probability at every step: the same code for files and amplifiers.

Steps lie on one grid that begins with the recording. What is held is one context of the detector,
one block of the filters and less than a step of samples, however long the recording is. Steps that
are complete together are asked about together, which changes no answer and takes a fraction of
the time.

Shapes: T samples, C channels, P samples of a step, S steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.detect.lookahead import LookAhead
from brainfm.detect.usable import MIN_USABLE, usable
from brainfm.detect.windows import Windows, joined
from brainfm.errors import ContractError, DataError
from brainfm.signals.causal import CausalChain
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Kind, SignalBatch

READS = (Kind.EEG, Kind.MAG, Kind.GRAD, Kind.ECOG, Kind.SEEG)
"""Kinds that show a brain; a heart or a muscle would only be taken for one."""

TOGETHER = 32
"""Most steps that a detector is asked about at once: memory has a limit in any block."""

Array = NDArray[np.float64]


class Engine:
    """Follows one recording.

    Parameters
    ----------
    detector : SeizureDetector
    channels : of the columns that are pushed
    sfreq_in : Hz of what is pushed, SI units as recorded. None: samples are prepared already
    line_freq : Hz; None skips the notch and says so
    causal : refuse filters that look ahead
    intervals_s : stretches that may be looked at; steps outside them, or across an end, are "no
        signal", and nothing is remembered from one stretch to the next. Default: everything
    where : the recording and the checkpoint, for sentences
    watch : is given the prepared samples (T, C) as they come, and the number of the first of them,
        counted from the recording's first

    Attributes
    ----------
    channels : those that are read
    notes : sentences
    n_steps : steps answered so far

    Raises
    ------
    ContractError
        If the recipe looks ahead and must not.
    DataError
        If no channel shows a brain.
    """

    def __init__(
        self,
        detector: Any,
        channels: Channels,
        sfreq_in: float | None = None,
        line_freq: float | None = None,
        causal: bool = False,
        *,
        intervals_s: Sequence[tuple[float, float]] | None = None,
        where: str = "recording",
        watch: Callable[[int, Array], None] | None = None,
    ) -> None:
        self.detector, self.recipe, self.where = detector, detector.preprocess.recipe, where
        if causal:
            require_causal(self.recipe, where)
        self._columns = np.flatnonzero(np.isin(channels.kind, READS))
        if not len(self._columns):
            raise DataError(
                f"{where}: none of its {len(channels)} channels is EEG, MEG, ECoG or sEEG; set "
                "the channel types in the file"
            )
        self.channels = channels.take(self._columns)
        self.notes: list[str] = []
        if len(self._columns) < len(channels):
            left = sorted(set(channels.name) - set(self.channels.name))
            self.notes.append(f"channels that show no brain are left out: {', '.join(left[:6])}")
        self.sfreq_in, self.line_freq = sfreq_in, line_freq
        self.step, self.step_s = int(detector.step), float(detector.step_s)
        self.n_steps = 0
        # A high-pass rings for about its period when a channel comes back at another offset.
        period_s = 1 / self.recipe.highpass_hz if self.recipe.highpass_hz else 0.0
        self._settle = math.ceil(period_s / self.step_s - 1e-9)
        self._intervals_s = [(0.0, math.inf)] if intervals_s is None else intervals_s
        self._watch = watch
        self._skip = 0
        if hasattr(detector, "eval"):
            detector.eval()
        self._windows = Windows(
            self.channels,
            detector.preprocess,
            self.step,
            int(detector.context),
            whole=not detector.streams,
        )
        self._most = TOGETHER if detector.streams else 1
        self._begin()

    def push(self, x_TC: NDArray[np.floating]) -> Array:
        """The next samples; the probabilities (S,) of the steps that they complete.

        NaN says "no signal": too few channels are usable, and that is not "no seizure".
        """
        x_TC = np.asarray(x_TC)[:, self._columns]
        dropped, self._skip = min(self._skip, len(x_TC)), max(0, self._skip - len(x_TC))
        x_TC = x_TC[dropped:]
        self._n_in += len(x_TC)
        self._judge(x_TC)
        prepared_TC = x_TC if self._filter is None else self._filter.push(x_TC)
        return self._answer(prepared_TC)

    def finish(self) -> Array:
        """The steps that waited for samples behind them; nothing is left but a part of a step."""
        if not isinstance(self._filter, LookAhead):
            return np.empty(0)
        return self._answer(self._filter.finish())

    def gap(self, seconds: float) -> Array:
        """Time passed without samples: its steps are "no signal", and everything begins anew.

        What comes next is read from the next step of the grid on.
        """
        if not seconds >= 0:
            raise DataError(f"{self.where}: its clock jumps back by {-seconds:g} s; start again")
        found = self.finish()
        rate = self.sfreq_in or self.recipe.sfreq
        now_s = self._begun * self.step_s + self._n_in / rate + seconds
        first = math.ceil(now_s / self.step_s - 1e-9)
        missing = np.full(max(0, first - self.n_steps), np.nan)
        self.n_steps = max(first, self.n_steps)
        self._begin()
        self._skip = round((self._begun * self.step_s - now_s) * rate)
        return np.concatenate([found, missing])

    def _begin(self) -> None:
        """Forget everything; the next sample is the first of step `n_steps`."""
        self._begun, self._n_in, self._n_out = self.n_steps, 0, 0
        self._filter: CausalChain | LookAhead | None = None
        if self.sfreq_in is not None:
            n, recipe = len(self.channels), self.recipe
            if recipe.causal:
                self._filter = CausalChain(recipe, self.sfreq_in, n, self.line_freq)
            else:
                self._filter = LookAhead(recipe, self.sfreq_in, n, self.line_freq, self.where)
            self.notes += [n for n in self._filter.notes if n not in self.notes]
        self._raw_TC = np.empty((0, len(self.channels)))
        self._prepared_TC = np.empty((0, len(self.channels)))
        self._usable: deque[NDArray[np.bool_]] = deque()
        self._judged = 0
        self._good_for_C = np.full(len(self.channels), self._settle)
        self._at: int | None = None
        self._forget()

    def _forget(self) -> None:
        """What the detector remembers; filters go on."""
        self._past: Any = None
        self._windows.forget()

    def _judge(self, x_TC: NDArray[np.floating]) -> None:
        """Which channels are usable in each step, as recorded, and settled since they were not."""
        self._raw_TC = np.concatenate([self._raw_TC, x_TC])
        rate = self.sfreq_in or self.recipe.sfreq
        ratio = self.step * rate / self.recipe.sfreq
        while True:
            start, stop = (math.ceil(k * ratio - 1e-6) for k in (self._judged, self._judged + 1))
            if len(self._raw_TC) < stop - start:
                return
            part_TC, self._raw_TC = np.split(self._raw_TC, [stop - start])
            recorded = self.sfreq_in is not None
            good_C = usable(part_TC, rate, self.channels, recorded)
            self._usable.append(good_C & (self._good_for_C >= self._settle))
            self._good_for_C = np.where(good_C, self._good_for_C + 1, 0)
            self._judged += 1

    def _answer(self, y_TC: NDArray[np.floating]) -> Array:
        if self._filter is not None:
            self.notes += [n for n in self._filter.notes if n not in self.notes]
        if self._watch is not None:
            self._watch(self._begun * self.step + self._n_out, y_TC)
        self._n_out += len(y_TC)
        self._prepared_TC = np.concatenate([self._prepared_TC, y_TC])
        found: list[float] = []
        together: list[SignalBatch] = []

        def ask() -> None:
            if together:
                found.extend(self._probabilities(together))
                together.clear()

        while len(self._prepared_TC) >= self.step and self._usable:
            y_PC, self._prepared_TC = np.split(self._prepared_TC, [self.step])
            usable_C, number = self._usable.popleft(), self.n_steps
            self.n_steps += 1
            stretch = self._stretch_of(number)
            if stretch != self._at:
                ask()
                self._at = stretch
                self._forget()
            if stretch is None:
                found.append(math.nan)
                continue
            if usable_C.mean() < MIN_USABLE:
                usable_C = np.zeros_like(usable_C)
            step = self._windows.add(y_PC, usable_C, number * self.step_s)
            if len(together) == self._most or (
                together and not together[-1].valid_BC.equal(step.valid_BC)
            ):
                ask()
            together.append(step)
        ask()
        return np.array(found, np.float64)

    def _probabilities(self, steps: list[SignalBatch]) -> list[float]:
        """Of consecutive steps with the same valid channels."""
        batch, scale_BCW = joined(steps)
        weight = next(iter(self.detector.parameters()), None)
        if weight is not None:
            batch, scale_BCW = batch.to(weight.device), scale_BCW.to(weight.device)
        some = bool(batch.valid_BC.any())
        if self.detector.streams:
            # Also where nothing is usable: what comes later counts its lags from here.
            p_BW, self._past = self.detector.advance(batch, self._past, scale_BCW)
        elif some:
            p_BW = self.detector.probabilities(batch)
        if not some:
            return [math.nan] * len(steps)
        found: list[float] = p_BW[0, -len(steps) :].tolist()
        for p, step in zip(found, steps, strict=True):
            if not 0 <= p <= 1:
                at_s = float(step.time_BW[0, -1]) + self.step_s
                raise ContractError(
                    f"{self.where}: the detector says {p} at {at_s:g} s of a usable signal; its "
                    "weights are damaged, export it again"
                )
        return found

    def _stretch_of(self, number: int) -> int | None:
        """Which of the stretches holds this step; a new one begins without memories."""
        start, stop = number * self.step_s, (number + 1) * self.step_s
        for i, (a, b) in enumerate(self._intervals_s):
            if a - 1e-6 <= start and stop <= b + 1e-6:
                return i
        return None


def require_causal(recipe: Recipe, where: str) -> None:
    """Raise `ContractError` if the recipe's filters look ahead."""
    if not recipe.causal:
        raise ContractError(
            f"{where}: filters that look ahead are refused in causal mode: the detector was "
            "trained on signals prepared with them (causal is False in its recipe); prepare "
            "the data with `python -m data_prep run --causal` and train it again"
        )
