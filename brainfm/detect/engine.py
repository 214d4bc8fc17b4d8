"""From samples as they come to a probability at every step: the same code for files and amplifiers.

Steps lie on one grid that begins with the recording. What is held is one context of the detector,
one block of the filters and less than a step of samples, however long the recording is.

Shapes: T samples, C channels, P samples of a step, S steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.collate import batch_from_arrays
from brainfm.detect.lookahead import LookAhead
from brainfm.detect.usable import MIN_USABLE, usable
from brainfm.errors import ContractError, DataError
from brainfm.signals.causal import CausalChain
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Kind

READS = (Kind.EEG, Kind.MAG, Kind.GRAD, Kind.ECOG, Kind.SEEG)
"""Kinds that show a brain; a heart or a muscle would only be taken for one."""

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
        self._intervals_s = intervals_s
        self._watch = watch
        self._skip = 0
        if hasattr(detector, "eval"):
            detector.eval()
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
        self._forget()

    def _forget(self) -> None:
        """What the detector remembers; filters go on."""
        self._past: Any = None
        self._window: deque[Array] = deque(maxlen=int(self.detector.context))

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
        found = []
        while len(self._prepared_TC) >= self.step and self._usable:
            y_PC, self._prepared_TC = np.split(self._prepared_TC, [self.step])
            found.append(self._probability(y_PC, self._usable.popleft()))
            self.n_steps += 1
        return np.array(found, np.float64)

    def _probability(self, y_PC: NDArray[np.floating], usable_C: NDArray[np.bool_]) -> float:
        if not self._inside():
            self._forget()
            return math.nan
        if usable_C.mean() < MIN_USABLE:
            usable_C = np.zeros_like(usable_C)
        # A broken channel must not set the scale of the others.
        self._window.append(np.where(usable_C, y_PC, 0.0))
        if self.detector.streams:
            # Also where nothing is usable: what comes later counts its lags from here.
            p_BW, self._past = self.detector.advance(_newest(self._batch(usable_C)), self._past)
        elif usable_C.any():
            p_BW = self.detector.probabilities(self._batch(usable_C))
        if not usable_C.any():
            return math.nan
        p = float(p_BW[0, -1])
        if not 0 <= p <= 1:
            raise ContractError(
                f"{self.where}: the detector says {p} at {(self.n_steps + 1) * self.step_s:g} s "
                "of a usable signal; its weights are damaged, export it again"
            )
        return p

    def _inside(self) -> bool:
        """Whether the next step lies in the stretches; a new one begins without memories."""
        if self._intervals_s is None:
            return True
        start, stop = self.n_steps * self.step_s, (self.n_steps + 1) * self.step_s
        for a, b in self._intervals_s:
            if a - 1e-6 <= start and stop <= b + 1e-6:
                if start - a < self.step_s - 1e-6:
                    self._forget()
                return True
        return False

    def _batch(self, usable_C: NDArray[np.bool_]) -> Any:
        """The last steps as a window of training that ends now."""
        import torch

        x_CT = np.concatenate(self._window).T
        batch = batch_from_arrays(
            x_CT[None],
            self.channels,
            self.recipe.sfreq,
            self.detector.preprocess.normalise,
            self.step,
        )
        batch.valid_BC &= torch.from_numpy(usable_C)
        batch.time_BW += (self.n_steps + 1 - len(self._window)) * self.step_s
        weight = next(iter(self.detector.parameters()), None)
        return batch if weight is None else batch.to(weight.device)


def _newest(batch: Any) -> Any:
    """The window's last step, normalised as part of the window."""
    return replace(batch, x_BCWP=batch.x_BCWP[:, :, -1:], time_BW=batch.time_BW[:, -1:])


def require_causal(recipe: Recipe, where: str) -> None:
    """Raise `ContractError` if the recipe's filters look ahead."""
    if not recipe.causal:
        raise ContractError(
            f"{where}: filters that look ahead are refused in causal mode: the detector was "
            "trained on signals prepared with them (causal is False in its recipe); prepare "
            "the data with `python -m data_prep run --causal` and train it again"
        )
