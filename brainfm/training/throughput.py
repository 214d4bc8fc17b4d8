"""Meters of a run: loss parts, rates and the share of time spent waiting for data.

Device values are read together, once per logged step, so that a step that is not logged never
waits for the device.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler

from brainfm.training.metrics import MetricsCSV
from brainfm.types import SignalBatch

log = logging.getLogger(__name__)

FETCH = "train_dataloader_next"
"""Last part of the name under which Lightning times the fetching of a batch."""


class Waiting(Profiler):
    """Sums the seconds in which the training loop waited for its next batch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._since: dict[str, float] = {}

    def start(self, action_name: str) -> None:
        if action_name.endswith(FETCH):
            self._since[action_name] = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if action_name in self._since:
            self.seconds += time.perf_counter() - self._since.pop(action_name)

    def summary(self) -> str:
        return f"waited {self.seconds:.1f} s for data"


class StepLog(Callback):
    """Write one row of metrics every `trainer.log_every_n_steps` steps.

    Besides the parts of the loss: `lr`, `grad_norm`, `windows_per_s`, `signal_hours_per_s`
    (hours of recording, whatever the number of channels, read per second of training) and
    `data_wait_frac`. Rates are per process group (all ranks) and leave out validation, pictures
    and checkpoints.

    Parameters
    ----------
    say_every_s : seconds between two lines in the log, for runs without a terminal; 0 is never
    """

    def __init__(self, say_every_s: float = 30.0) -> None:
        self.say_every_s = say_every_s
        self.shown: dict[str, float] = {}
        self._said = self._start = self._lr = 0.0
        self._reset()

    def _reset(self) -> None:
        self._busy = self._windows = self._hours = 0.0
        self._waited_before = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reset()
        self._waited_before = _waited(trainer)
        self._said = time.perf_counter()
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV) and not trainer.fast_dev_run:
                logger.rewind(trainer.global_step)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: SignalBatch, batch_idx: int
    ) -> None:
        self._lr = _rate(trainer, pl_module)
        self._start = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: SignalBatch,
        batch_idx: int,
    ) -> None:
        due = trainer.global_step % trainer.log_every_n_steps == 0
        due &= (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        row = _read(pl_module.parts) if due else {}  # reading waits for the device: time it
        self._busy += time.perf_counter() - self._start
        self._windows += len(batch) * trainer.world_size
        self._hours += len(batch) * batch.seconds / 3600 * trainer.world_size
        if not due:
            return
        waited = max(_waited(trainer) - self._waited_before, 0.0)
        seconds = self._busy + waited
        row["lr"] = self._lr
        row["windows_per_s"] = self._windows / seconds
        row["signal_hours_per_s"] = self._hours / seconds
        row["data_wait_frac"] = waited / seconds
        self._reset()
        self._waited_before = _waited(trainer)
        self.shown = row
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)
        self._say(trainer)

    def _say(self, trainer: Trainer) -> None:
        now = time.perf_counter()
        if not self.say_every_s or now - self._said < self.say_every_s:
            return
        if trainer.is_global_zero:
            self._said = now
            log.info("step %d of %d: %s", trainer.global_step, trainer.max_steps, brief(self.shown))


def brief(row: dict[str, float]) -> str:
    """The three numbers a person watches."""
    return (
        f"loss {row.get('loss', float('nan')):.4f}  {row.get('windows_per_s', 0):.1f} windows/s  "
        f"{row.get('signal_hours_per_s', 0):.3f} h of signal/s"
    )


def measure_loop(
    batches: Iterable[SignalBatch], step: Callable[[SignalBatch], Any], n_steps: int
) -> dict[str, float]:
    """Time `n_steps` steps of a loop and say where the time went.

    Parameters
    ----------
    batches : yields at least `n_steps` + 1 batches; the first one warms up and is not counted
    step : what is done with one batch; it must not return before it is done

    Returns
    -------
    dict with `s_per_step`, `data_wait_frac`, `windows_per_s`, `channel_seconds_per_s` and
    `signal_hours_per_s`
    """
    iterator = iter(batches)
    step(next(iterator))
    waited = busy = windows = channel_s = signal_s = 0.0
    for _ in range(n_steps):
        t0 = time.perf_counter()
        batch = next(iterator)
        t1 = time.perf_counter()
        step(batch)
        t2 = time.perf_counter()
        waited, busy = waited + t1 - t0, busy + t2 - t1
        windows += len(batch)
        signal_s += len(batch) * batch.seconds
        channel_s += len(batch) * batch.seconds * batch.n_channels
    total = waited + busy
    return {
        "s_per_step": total / n_steps,
        "data_wait_frac": waited / total,
        "windows_per_s": windows / total,
        "channel_seconds_per_s": channel_s / total,
        "signal_hours_per_s": signal_s / 3600 / total,
    }


def _rate(trainer: Trainer, task: Any) -> float:
    """Rate of this step; where groups have several, that of the settings."""
    groups = trainer.optimizers[0].param_groups
    main = [g["lr"] for g in groups if g.get("initial_lr") == task.settings.lr]
    return float(main[0] if main else groups[0]["lr"])


def _waited(trainer: Trainer) -> float:
    return getattr(trainer.profiler, "seconds", 0.0)


def _read(parts: dict[str, torch.Tensor]) -> dict[str, float]:
    """Every part as a float, with one transfer per dtype."""
    by_type = defaultdict(list)
    for name, value in parts.items():
        by_type[value.dtype].append(name)
    read = {
        name: value
        for names in by_type.values()
        for name, value in zip(
            names, torch.stack([parts[n].flatten()[0] for n in names]).tolist(), strict=True
        )
    }
    return {name: read[name] for name in parts}
